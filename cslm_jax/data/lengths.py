"""A picture of how long the examples of each task are, and how many are longer than a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cslm_jax.data import files

_FITS, _TOO_LONG, _INK = "#2f7de1", "#e0662f", "#50565f"
_BINS_PER_OCTAVE = 6


def draw_lengths(histograms: Mapping[str, Int[np.ndarray, "L"]], row_length: int, path: Path) -> None:
    """Writes a PNG with one panel a task: share of its examples over their length in tokens.

    Args:
        histograms: examples of each length, by task; a task without any has no panel.
        row_length: what is longer is left out of training; it is marked.
    """
    histograms = {task: histogram for task, histogram in histograms.items() if histogram.any()}
    longest = max(row_length * 1.5, *(len(histogram) for histogram in histograms.values()))
    shortest = min(int(np.flatnonzero(histogram)[0]) for histogram in histograms.values())
    octaves = np.log2(longest / shortest)
    # One edge lies at the row length, so that no bar is half too long.
    steps = np.arange(-np.ceil(octaves * _BINS_PER_OCTAVE) - 1, np.ceil(octaves * _BINS_PER_OCTAVE) + 1)
    edges = (row_length + 0.5) * 2 ** (steps / _BINS_PER_OCTAVE)
    figure = Figure(figsize=(6.4, 0.7 + 0.62 * len(histograms)), layout="constrained")
    axes = figure.subplots(len(histograms), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (task, histogram) in zip(axes, histograms.items(), strict=True):
        _panel(axis, task, histogram, row_length, edges)
    axes[-1].set_xscale("log", base=2)
    axes[-1].set_xlim(shortest / 1.1, longest)
    axes[-1].xaxis.set_major_formatter(ticker.FuncFormatter(lambda length, _: f"{length:,.0f}"))
    axes[-1].set_xlabel(f"tokens of an example (dashed: a row of {row_length:,})", color=_INK)
    figure.suptitle("Share of a task's examples by length", fontsize=10, color=_INK)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def _panel(axis: Axes, task: str, histogram: Int[np.ndarray, "L"], row_length: int, edges: np.ndarray) -> None:
    total = int(histogram.sum())
    too_long = int(histogram[row_length + 1 :].sum()) / total
    shares, _ = np.histogram(np.arange(len(histogram)), edges, weights=histogram / total)
    colours = np.where(edges[:-1] > row_length, _TOO_LONG, _FITS)
    axis.bar(edges[:-1], shares, np.diff(edges) * 0.94, align="edge", color=colours)
    axis.axvline(row_length + 0.5, color=_INK, lw=0.9, ls="--")
    axis.set_ylabel(task, rotation=0, ha="right", va="center", fontsize=8, color=_INK)
    axis.set_yticks([])
    axis.tick_params(colors=_INK, labelsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    said = f"{total:,} examples\n" + (f"{too_long:.1%} too long" if too_long else "all fit")
    colour = _TOO_LONG if too_long else _INK
    axis.text(1.01, 0.5, said, transform=axis.transAxes, ha="left", va="center", fontsize=7, color=colour)
