"""Speech inside the system: merged units with their run lengths."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int


@dataclasses.dataclass(frozen=True, eq=False)
class Speech:
    """A stretch of speech as discrete units (paper section 1).

    Consecutive equal tokens of the speech tokenizer are merged before the LM sees them; the run
    lengths are kept because the duration predictor learns from them and every cut in time needs them.
    """

    units: Int[np.ndarray, "N"]
    """Codes of the tokenizer, no two neighbours equal."""
    run_lengths: Int[np.ndarray, "N"]
    """Frames that each unit lasts."""
    unit_rate: float = 25.0
    """Frames a second, before merging."""

    @classmethod
    def from_frames(cls, frames: Int[np.ndarray, "T"], unit_rate: float = 25.0) -> Speech:
        """Merges consecutive equal frames."""
        frames = np.asarray(frames, np.int32)
        starts = np.flatnonzero(np.diff(frames, prepend=frames[:1] - 1))
        return cls(frames[starts], np.diff(starts, append=len(frames)).astype(np.int32), unit_rate)

    @property
    def frames(self) -> Int[np.ndarray, "T"]:
        """The units as the tokenizer gave them, one a frame."""
        return np.repeat(self.units, self.run_lengths)

    @property
    def seconds(self) -> float:
        return float(np.sum(self.run_lengths)) / self.unit_rate

    def cut(self, start: float, end: float) -> Speech:
        """The part between two times in seconds; merged after cutting, so each part stands by itself.

        The unit at time t is frame floor(t * unit_rate), clipped to the utterance: parts that share
        a boundary share no frame and lose none.
        """
        frames = self.frames
        # A hair above the product: 0.28 * 25 is 7.000000000000001, but 0.29 * 100 is 28.999999999999996.
        first, last = np.clip(np.floor(np.array([start, end]) * self.unit_rate + 1e-6).astype(int), 0, len(frames))
        return Speech.from_frames(frames[first:last], self.unit_rate)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Speech)
            and self.unit_rate == other.unit_rate
            and np.array_equal(self.units, other.units)
            and np.array_equal(self.run_lengths, other.run_lengths)
        )
