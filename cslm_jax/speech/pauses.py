"""From the peaks of a CTC model to the sounds of words: the gap between two words shrinks to its quietest stretch.

A CTC label is often carried by one frame, while its sound goes on: the middle of the gap between the last label of one
word and the first of the next may lie inside either. The speech itself tells where they part.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from cslm_jax.speech import audio
from cslm_jax.speech.align import Word

HOP = 160
"""Samples of a frame of loudness: 10 ms."""
_AS_QUIET, _SILENT = 3.0, 50.0
"""Frames this many dB above the quietest count as quiet; below the loud ones by this many dB, all are silent alike."""


def part_at_pauses(words: Sequence[Word], waveform: Float[np.ndarray, "S"]) -> tuple[Word, ...]:
    """The words, each reaching to the quietest stretch of the gap to its neighbour; so the middle of what is left of the gap
    is where to cut. Neither edge leaves the gap: no word grows over a frame that carries a label of another.

    Args:
        words: in order, from `align.align`.
        waveform: 16 kHz samples of the recording.
    """
    loudness = _loudness(waveform)
    gaps = [_quietest(loudness, a.end_s, b.start_s) for a, b in itertools.pairwise(words)]
    starts = [*(word.start_s for word in words[:1]), *(end for _, end in gaps)]
    ends = [*(start for start, _ in gaps), *(word.end_s for word in words[-1:])]
    return tuple(Word(word.start_char, word.end_char, start, end) for word, start, end in zip(words, starts, ends, strict=True))


def _loudness(waveform: Float[np.ndarray, "S"]) -> Float[np.ndarray, "T"]:
    """dB of each frame over itself and its neighbours, so that one period of a low voice fits in."""
    frames = np.reshape(waveform[: len(waveform) // HOP * HOP], (-1, HOP)).astype(np.float64)
    if not len(frames):
        return np.zeros(0)
    power = np.convolve(np.square(frames).mean(axis=1), np.full(3, 1 / 3), "same")
    decibels = 10 * np.log10(power + 1e-12)
    return np.maximum(decibels, np.quantile(decibels, 0.95) - _SILENT)


def _quietest(loudness: Float[np.ndarray, "T"], start: float, end: float) -> tuple[float, float]:
    """The longest stretch (seconds) between two times whose frames are about as quiet as the quietest there."""
    rate = audio.SAMPLE_RATE / HOP
    first, last = int(np.ceil(start * rate - 1e-6)), min(int(np.floor(end * rate + 1e-6)), len(loudness))
    if first >= last:
        return start, end
    inside = loudness[first:last]
    quiet = np.flatnonzero(inside <= inside.min() + _AS_QUIET)
    stretch = max(np.split(quiet, np.flatnonzero(np.diff(quiet) > 1) + 1), key=len)
    return (first + int(stretch[0])) / rate, (first + int(stretch[-1]) + 1) / rate
