"""Seeded order by hash: the same on every platform and Python version, forever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def number(key: str) -> int:
    """A stable 64-bit hash of a text."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def shuffled(items: Iterable[T], seed: int | str) -> list[T]:
    """The items (told apart by their repr) in an order that the seed decides."""
    return sorted(items, key=lambda item: number(f"{seed} {item!r}"))


def sample(items: Iterable[T], size: int, seed: int | str) -> list[T]:
    """At most `size` of the items, in an order that tells nothing about their place in `shuffled` of the same seed."""
    return shuffled(items, f"sample {seed}")[:size]
