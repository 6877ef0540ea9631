"""Sound files -> waveforms -> log-mel spectrograms."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import soundfile
import soxr
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.errors import BadRecord
from cslm_jax.speech import headers

SAMPLE_RATE = 16000
"""Samples a second that the speech tokenizer hears."""
WINDOW, HOP = 400, 160
"""Samples of a log-mel frame and between two of them: 25 ms and 10 ms."""
SILENCE = 1e-10
"""Least power of a mel bin before the logarithm."""

VOCODER_SAMPLE_RATE, VOCODER_FFT, VOCODER_HOP, VOCODER_MELS, VOCODER_FMAX = 22050, 1024, 256, 80, 8000
"""The mel spectrogram of CosyVoice's flow and vocoder."""

Span = tuple[Float[np.ndarray, "_"], int, int]
"""A stretch of a 16 kHz waveform: (waveform, first frame, frames) at 100 log-mel frames a second."""


def load(
    path: str | Path, sample_rate: int = SAMPLE_RATE, min_seconds: float = 0.1, max_seconds: float = 30.0
) -> Float[np.ndarray, "S"]:
    """A sound file as mono float32 samples at `sample_rate`; channels are averaged.

    Raises:
        BadRecord: (stage "audio") the file is missing, no sound file, truncated, damaged, empty, silent, not finite,
            shorter or longer than allowed, or its header contradicts itself.
    """
    path = Path(path)
    headers.check(path)
    try:
        with soundfile.SoundFile(path) as file:
            declared, native_rate = file.frames, file.samplerate
            too_long = declared > max_seconds * native_rate
            samples = file.read(0 if too_long else -1, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadRecord("audio", f"{path} cannot be read as sound: {error}") from error
    if too_long:
        raise BadRecord("audio", f"{path} {outside(declared / native_rate, min_seconds, max_seconds)}")
    if len(samples) < declared:
        raise BadRecord("audio", f"{path} is truncated or damaged: {len(samples)} of {declared} samples are there")
    waveform = samples.mean(axis=1)
    try:
        check(waveform, native_rate, min_seconds, max_seconds)
    except BadRecord as error:
        raise BadRecord("audio", f"{path} {error.reason}") from None
    if native_rate == sample_rate:
        return waveform
    return soxr.resample(waveform, native_rate, sample_rate)


def check(
    waveform: Float[np.ndarray, "S"], sample_rate: int = SAMPLE_RATE, min_seconds: float = 0.1, max_seconds: float = 30.0
) -> None:
    """Raises BadRecord (stage "audio") if the samples cannot be speech."""
    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise BadRecord("audio", f"has shape {waveform.shape}, but one channel of samples is needed")
    if not len(waveform):
        raise BadRecord("audio", "is empty")
    if not np.all(np.isfinite(waveform)):
        raise BadRecord("audio", "has samples that are NaN or infinite")
    if not np.any(waveform):
        raise BadRecord("audio", "is silent: every sample is zero")
    seconds = len(waveform) / sample_rate
    if not min_seconds <= seconds <= max_seconds:
        raise BadRecord("audio", outside(seconds, min_seconds, max_seconds))


def complaint(waveform: Float[np.ndarray, "S"]) -> BadRecord | None:
    """Why 16 kHz samples of any length cannot be speech; they can if there is one window of them."""
    try:
        check(waveform, SAMPLE_RATE, WINDOW / SAMPLE_RATE, float("inf"))
    except BadRecord as error:
        return error
    return None


def outside(seconds: float, least: float, most: float) -> str:
    """How errors say it."""
    return f"lasts {seconds:.2f} s, outside {least} to {most} s"


def log_mel(waveform: Float[np.ndarray, "S"], mels: int = 128) -> Float[Array, "T M"]:
    """Whisper's log-mel spectrogram as the S3 tokenizer takes it: 16 kHz samples -> 100 frames a second.

    Periodic Hann window, reflected edges, last frame dropped, Slaney filterbank, log10 with a floor
    8 below the utterance's maximum, then (x + 4) / 4. T is S // 160.
    """
    padded, lengths = pad_waveforms([waveform], len(waveform) // HOP)
    return log_mel_batch(padded, lengths, mels)[0]


def pad_waveforms(
    waveforms: Sequence[Float[np.ndarray, "_"]], frames: int
) -> tuple[Float[np.ndarray, "B S"], Int[np.ndarray, "B"]]:
    """Rows for `log_mel_batch`, wide enough for `frames` frames, and the frames that each row really has.

    Each waveform is reflected at its own two ends, so that its spectrogram does not depend on its neighbours.
    """
    return pad_spans([(waveform, 0, len(waveform) // HOP) for waveform in waveforms], frames)


def pad_spans(spans: Sequence[Span], frames: int) -> tuple[Float[np.ndarray, "B S"], Int[np.ndarray, "B"]]:
    """`pad_waveforms` of parts of waveforms.

    The samples beside a part belong to its outer frames, so they are those of the whole waveform's spectrogram.
    """
    rows = np.zeros((len(spans), frames * HOP + WINDOW), np.float32)
    for row, (waveform, start, length) in zip(rows, spans):
        if length > frames:
            raise ValueError(f"a waveform of {length} frames does not fit into {frames}")
        first, last = start * HOP - WINDOW // 2, (start + length) * HOP + WINDOW // 2
        there = np.asarray(waveform[max(first, 0) : last], np.float32)
        row[: last - first] = np.pad(there, (max(-first, 0), max(last - len(waveform), 0)), mode="reflect")
    return rows, np.array([length for _, _, length in spans], np.int32)


@functools.partial(jax.jit, static_argnames="mels")
def log_mel_batch(
    padded: Float[Array, "B S"], lengths: Int[Array, "B"], mels: int = 128, loudest: Float[Array, "B"] | None = None
) -> Float[Array, "B T M"]:
    """`log_mel` of the rows of `pad_waveforms`; frames behind a row's length are zero.

    Args:
        loudest: where a row may be only a part of an utterance, the largest `loudest_batch` of its parts: the floor lies
            8 below it.
    """
    log_power, present = _log_power(padded, lengths, mels)
    own = _loudest(log_power, present)
    floor = (own if loudest is None else jnp.maximum(own, loudest)) - 8
    return jnp.where(present, (jnp.maximum(log_power, floor[:, None, None]) + 4) / 4, 0)


@functools.partial(jax.jit, static_argnames="mels")
def loudest_batch(padded: Float[Array, "B S"], lengths: Int[Array, "B"], mels: int = 128) -> Float[Array, "B"]:
    """Largest log10 power in a mel bin of each row of `pad_waveforms`."""
    return _loudest(*_log_power(padded, lengths, mels))


def _log_power(padded: Float[Array, "B S"], lengths: Int[Array, "B"], mels: int) -> tuple[Array, Array]:
    """log10 power [B, T, M], and which of its frames are there [B, T, 1]."""
    frames = padded.shape[1] // HOP - WINDOW // HOP
    power = jnp.square(jnp.abs(jnp.fft.rfft(_windows(padded, frames, WINDOW, HOP))))
    log_power = jnp.log10(jnp.maximum(power @ _filterbank(SAMPLE_RATE, WINDOW, mels), SILENCE))
    return log_power, (jnp.arange(frames) < lengths[:, None])[:, :, None]


def _loudest(log_power: Float[Array, "B T M"], present: Bool[Array, "B T 1"]) -> Float[Array, "B"]:
    return jnp.max(log_power, axis=(1, 2), where=present, initial=np.log10(SILENCE))


def vocoder_mel(waveform: Float[Array, "*B S"]) -> Float[Array, "*B T 80"]:
    """HiFi-GAN's mel spectrogram: 22,050 Hz samples -> natural log of mel amplitudes, T = S // 256.

    The edges are reflected by (1024 - 256) / 2 samples, so frame t is centred on sample 256 t + 128.
    """
    *batch, samples = waveform.shape
    edge = (VOCODER_FFT - VOCODER_HOP) // 2
    padded = jnp.pad(jnp.reshape(waveform, (-1, samples)), ((0, 0), (edge, edge)), mode="reflect")
    magnitude = jnp.abs(jnp.fft.rfft(_windows(padded, samples // VOCODER_HOP, VOCODER_FFT, VOCODER_HOP)))
    bank = _filterbank(VOCODER_SAMPLE_RATE, VOCODER_FFT, VOCODER_MELS, VOCODER_FMAX)
    mel = jnp.log(jnp.maximum(magnitude @ bank, 1e-5))
    return mel.reshape(*batch, *mel.shape[1:])


def _windows(padded: Float[Array, "B S"], frames: int, window: int, hop: int) -> Float[Array, "B T W"]:
    """Overlapping windows times a periodic Hann, glued from hop-sized blocks: a gather is slow on a CPU."""
    blocks_per_window = -(-window // hop)
    missing = max((frames + blocks_per_window - 1) * hop - padded.shape[1], 0)
    padded = jnp.pad(padded, ((0, 0), (0, missing)))
    blocks = padded[:, : (frames + blocks_per_window - 1) * hop].reshape(len(padded), -1, hop)
    glued = jnp.concatenate([blocks[:, i : i + frames] for i in range(blocks_per_window)], axis=-1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return glued[:, :, :window] * hann.astype(np.float32)


@functools.cache
def _filterbank(sample_rate: int, window: int, mels: int, fmax: float | None = None) -> Float[np.ndarray, "bins M"]:
    return librosa.filters.mel(sr=sample_rate, n_fft=window, n_mels=mels, fmax=fmax).T.copy()
