"""A sound as it is kept, and out of what synthesisers send."""

from __future__ import annotations

import hashlib
import io
from typing import NamedTuple

import numpy as np
import soundfile
from jaxtyping import Float, Int16

from cslm_jax.errors import BadRecord, TryAgain

STAGE = "tts"
"""Of errors, as rejected.jsonl says it."""


class Sound(NamedTuple):
    """One channel of 16-bit samples: what a FLAC file holds exactly, so that a fresh sound equals a kept one."""

    samples: Int16[np.ndarray, "S"]
    rate: int

    @classmethod
    def of(cls, waveform: Float[np.ndarray, "S"], rate: int, sender: str) -> Sound:
        """Raises BadRecord, which names the sender, where there are no samples, or some that are no numbers."""
        if not len(waveform):
            raise BadRecord(STAGE, f"the sound from {sender} is empty")
        if not np.all(np.isfinite(waveform)):
            raise BadRecord(STAGE, f"the sound from {sender} has samples that are NaN or infinite")
        return cls(np.clip(np.rint(waveform * 32768), -32768, 32767).astype(np.int16), rate)

    @property
    def waveform(self) -> Float[np.ndarray, "S"]:
        return self.samples.astype(np.float32) / 32768

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"{self.rate} ".encode() + self.samples.astype("<i2").tobytes()).hexdigest()


def decode(content: bytes, sender: str, pcm_rate: int = 0) -> Sound:
    """The sound in a file's bytes, or in bare 16-bit samples; channels are averaged.

    Args:
        sender: for messages.
        pcm_rate: samples a second of bare samples; 0 for a file.

    Raises:
        TryAgain: there is none in it.
        BadRecord: it is empty, or has samples that are no numbers.
    """
    if pcm_rate:
        if len(content) % 2:
            raise no_sound(content, sender)
        return Sound(np.frombuffer(content, "<i2").astype(np.int16), pcm_rate)
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise no_sound(content, sender) from error
    return Sound.of(samples.mean(axis=1), rate, sender)


def no_sound(content: bytes, sender: str) -> TryAgain:
    return TryAgain(STAGE, f"{sender} gave something that is no sound: {content[:80]!r}")
