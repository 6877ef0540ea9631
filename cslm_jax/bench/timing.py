"""Seconds of something that is done again and again: the median, and the quartiles as its spread."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median and quartiles of a figure over repetitions; other programs on the machine move them less than a mean."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""
    repetitions: int

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        low, median, high = np.quantile(figures, [0.25, 0.5, 0.75]).tolist()
        return cls(median, low, high, len(figures))


def measure(call: Callable[[], Any], repetitions: int, warmup: int = 1) -> Spread:
    """Seconds until everything that a call returns is computed.

    Args:
        warmup: calls before those that count.
    """
    for _ in range(warmup):
        jax.block_until_ready(call())
    seconds = []
    for _ in range(repetitions):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return Spread.of(seconds)


def compiled(function: Callable, *arguments: Any) -> tuple[Any, float]:
    """A jitted function compiled for these arguments, and the seconds that took (fewer with a warm compilation cache)."""
    began = time.perf_counter()
    return function.lower(*arguments).compile(), time.perf_counter() - began
