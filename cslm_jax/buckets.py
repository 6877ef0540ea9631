"""Padding to a few fixed shapes, so that a jitted function is compiled a few times and not once a length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, Shaped


def bucket(length: int, smallest: int = 32) -> int:
    """The first of smallest, 1.5 smallest, 2 smallest, 3 smallest, 4 smallest ... that holds `length`."""
    size = smallest
    while size < length:
        if size + size // 2 >= length:
            return size + size // 2
        size *= 2
    return size


def batches(lengths: Sequence[int], most: int, devices: int = 1) -> list[tuple[int, int, list[int]]]:
    """(padded length, rows, members) of every batch of at most `most` positions a device, padding included, or of one row each.

    The shape that a member is computed in on a device follows from its own length alone.
    """
    members: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        members.setdefault(bucket(length), []).append(i)
    out = []
    for padded, group in members.items():
        rows = max(most // padded, 1) * devices
        out += [(padded, rows, group[i : i + rows]) for i in range(0, len(group), rows)]
    return out


def pad_rows(rows: Sequence[Int[np.ndarray, "T"]], count: int, length: int) -> Int[np.ndarray, "count length"]:
    """Right-padded with zeros; whoever reads them needs the lengths, for 0 is an ordinary unit and token."""
    padded = np.zeros((count, length), np.int32)
    for into, row in zip(padded, rows):
        into[: len(row)] = row
    return padded


def map_bucketed(
    function: Callable[[np.ndarray, np.ndarray], Shaped[np.ndarray, "B ..."]],
    rows: Sequence[Int[np.ndarray, "T"]],
    at_once: int = 16,
) -> list[Shaped[np.ndarray, "..."]]:
    """`function(padded rows, lengths)` over rows of like length at once; results in the order of `rows`, uncut.

    One row alone runs alone, for speed in streaming; otherwise a short batch is filled up with empty rows.
    """
    lengths = np.array([len(row) for row in rows], np.int32)
    order = np.argsort(lengths, kind="stable")
    count = 1 if len(rows) == 1 else at_once
    results: list = [None] * len(rows)
    for start in range(0, len(rows), at_once):
        picked = order[start : start + at_once]
        padded = pad_rows([rows[i] for i in picked], count, bucket(int(lengths[picked].max())))
        out = np.asarray(function(padded, np.pad(lengths[picked], (0, count - len(picked)))))
        for i, result in zip(picked, out):
            results[i] = result
    return results
