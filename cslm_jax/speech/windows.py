"""Long sound in overlapping windows, as the published S3 tokenizers hear it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from cslm_jax.speech.s3_config import MEL_RATE, OVERLAP_SECONDS, S3Config


@dataclasses.dataclass(frozen=True)
class Window:
    """A stretch of an utterance, and which of its units stay."""

    start: int
    """First mel frame."""
    frames: int
    """Mel frames."""
    kept: slice
    """Of its units: all but those of half an overlap at each side that another window covers."""

    def keep(self, rows: Any, config: S3Config) -> Any:
        """What stays of arrays with a row a unit, padded."""
        return jax.tree.map(lambda array: array[: config.units(self.frames)][self.kept], rows)


def windows(frames: int, config: S3Config) -> list[Window]:
    """Windows whose kept units, one after the other, are the units of an utterance of so many mel frames.

    The last window reaches to the end of the utterance. (The reference begins one more where the last would end within an
    overlap of the end, and so loses up to 2 s there.)
    """
    longest = frames if config.window_seconds is None else config.window_seconds * MEL_RATE
    if frames <= longest:
        return [Window(0, frames, slice(None))]
    overlap, given_up = OVERLAP_SECONDS * MEL_RATE, OVERLAP_SECONDS * config.unit_rate // 2
    starts = range(0, frames - overlap, longest - overlap)
    return [
        Window(start, min(longest, frames - start), slice(start and given_up, None if start == starts[-1] else -given_up))
        for start in starts
    ]
