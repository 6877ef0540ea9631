"""Padding to a few fixed shapes, so that a jitted function is compiled a few times and not once a length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def bucket(length: int, smallest: int = 32) -> int:
    """The first of smallest, 1.5 smallest, 2 smallest, 3 smallest, 4 smallest ... that holds `length`."""
    size = smallest
    while size < length:
        if size + size // 2 >= length:
            return size + size // 2
        size *= 2
    return size


def pad_rows(rows: Sequence[Int[np.ndarray, "T"]], count: int, length: int) -> Int[np.ndarray, "count length"]:
    """Right-padded with zeros; whoever reads them needs the lengths, for 0 is an ordinary unit and token."""
    padded = np.zeros((count, length), np.int32)
    for into, row in zip(padded, rows):
        into[: len(row)] = row
    return padded
