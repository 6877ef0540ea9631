"""A stretch of a long sound file: only that stretch is decoded, and the file stays open for the next one."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from cslm_jax.errors import BadRecord
from cslm_jax.speech import audio, headers

PREROLL = 0.1
"""Seconds that are decoded before the stretch and dropped: MP3, Vorbis and Opus frames lean on the ones before them.
(Without it, seeking into an MP3 or Vorbis file gave wrong samples now and then; with it none. Opus asks for 80 ms.)"""
TOLERANCE = 0.05
"""Seconds by which a segment may reach beyond the end of its file: times in transcripts are rounded."""


def load(
    path: str | Path,
    start_s: float,
    end_s: float,
    sample_rate: int = audio.SAMPLE_RATE,
    min_seconds: float = 0.1,
    max_seconds: float = 30.0,
) -> Float[np.ndarray, "S"]:
    """From `start_s` to `end_s` (seconds) of a sound file, as mono float32 samples at `sample_rate`.

    Raises:
        BadRecord: (stage "audio") the file is missing or no sound file, the stretch is damaged, ends behind the end of
            the file, is silent, not finite, or shorter or longer than allowed.
    """
    where = f"{path} from {start_s} to {end_s} s"
    # Rounded, for 30 s between two times are not 30.0 to the last bit.
    if not min_seconds <= round(end_s - start_s, 6) <= max_seconds:
        raise BadRecord("audio", f"{where} {audio.outside(end_s - start_s, min_seconds, max_seconds)}")
    try:
        file = _last_opened.get(Path(path))
        waveform = _read(file, start_s, end_s, where).mean(axis=1)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        _last_opened.forget()
        raise BadRecord("audio", f"{where} cannot be read as sound: {error}") from error
    try:
        audio.check(waveform, file.samplerate, min_seconds, max_seconds)
    except BadRecord as error:
        raise BadRecord("audio", f"{where} {error.reason}") from None
    return waveform if file.samplerate == sample_rate else soxr.resample(waveform, file.samplerate, sample_rate)


def _read(file: soundfile.SoundFile, start_s: float, end_s: float, where: str) -> Float[np.ndarray, "S channels"]:
    rate = file.samplerate
    start, length = round(start_s * rate), round((end_s - start_s) * rate)
    if start + length > file.frames + TOLERANCE * rate:
        raise BadRecord("audio", f"{where} ends behind the end of the file at {file.frames / rate:.2f} s")
    first = max(0, start - round(PREROLL * rate))
    file.seek(first)
    samples = file.read(start + length - first, dtype="float32", always_2d=True)[start - first :]
    if len(samples) < length - TOLERANCE * rate:
        raise BadRecord("audio", f"{where} is damaged: {len(samples)} of {length} samples are there")
    return samples


class _LastOpened(threading.local):
    """The file that the last segment of this thread came from; its neighbours come from it too."""

    path: Path | None = None
    file: soundfile.SoundFile | None = None

    def get(self, path: Path) -> soundfile.SoundFile:
        if self.file is None or self.path != path:
            self.forget()
            headers.check(path, whole=False)
            self.path, self.file = path, soundfile.SoundFile(path)
        return self.file

    def forget(self) -> None:
        if self.file is not None:
            self.file.close()
        self.path = self.file = None


_last_opened = _LastOpened()
