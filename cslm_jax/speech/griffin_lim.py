"""Mel -> waveform without a trained vocoder: what HiFi-GAN will replace (paper section 1).

The mel is spread over the linear bins by multiplicative updates (non-negative least squares as in NMF;
Lee and Seung, 2001) and the phase is found by the fast Griffin-Lim algorithm of librosa.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
from jaxtyping import Array, Float

from cslm_jax.buckets import bucket
from cslm_jax.speech import audio

SHORTEST = 8
"""Frames that librosa gets at least; less than a window of sound would not do. The rest is silence, and cut off."""


@dataclasses.dataclass(frozen=True)
class GriffinLimConfig:
    """The price of a second of sound: about 1 ms of one core for each iteration of either kind."""

    inversion_steps: int = 20
    """Updates that fit the linear spectrum to the mel; librosa's exact solver costs 50 times as much for no gain."""
    phase_steps: int = 16
    """Griffin-Lim iterations; a recogniser understands the sound of 8 as well as that of 32."""
    momentum: float = 0.99
    """Of the fast Griffin-Lim algorithm (Perraudin et al., 2013)."""

    def __post_init__(self):
        if self.inversion_steps < 0 or self.phase_steps < 1:
            raise ValueError(
                "griffin_lim: inversion_steps must not be negative and phase_steps must be positive, "
                f"got {self.inversion_steps} and {self.phase_steps}"
            )


@functools.partial(jax.jit, static_argnames="steps")
def linear_spectrum(mel: Float[Array, "M T"], steps: int) -> Float[Array, "F T"]:
    """A non-negative linear amplitude spectrum whose mel is `mel` (amplitudes, not logarithms)."""
    filters, inverse = _filters()
    wanted = filters.T @ mel
    update = lambda _, spectrum: spectrum * wanted / jnp.maximum(filters.T @ (filters @ spectrum), 1e-10)
    return jax.lax.fori_loop(0, steps, update, jnp.maximum(inverse @ mel, 1e-8))


def griffin_lim(log_mel: Float[np.ndarray, "T M"], config: GriffinLimConfig) -> Float[np.ndarray, "S"]:
    """Natural-log mel -> `T x hop` samples at the vocoder's sample rate, within [-1, 1]; the same every time."""
    frames = len(log_mel)
    if not frames:
        return np.zeros(0, np.float32)
    # In JAX although it is cold code: the idle threads of numpy's BLAS spin, which doubled the cost of the whole.
    mel = np.pad(np.exp(log_mel.T), ((0, 0), (0, bucket(frames) - frames)))
    waveform = librosa.griffinlim(
        np.asarray(linear_spectrum(mel, config.inversion_steps))[:, : max(frames, SHORTEST)],
        n_iter=config.phase_steps,
        hop_length=audio.VOCODER_HOP,
        n_fft=audio.VOCODER_FFT,
        momentum=config.momentum,
        random_state=0,
    )
    # librosa's first frame is centred on sample 0, the vocoder mel's on the middle of its hop.
    waveform = np.pad(waveform, audio.VOCODER_HOP // 2)[: frames * audio.VOCODER_HOP]
    return np.clip(waveform, -1, 1).astype(np.float32)


@functools.cache
def _filters() -> tuple[Float[np.ndarray, "M F"], Float[np.ndarray, "F M"]]:
    """The mel filterbank of the vocoder and its pseudo-inverse."""
    filters = librosa.filters.mel(
        sr=audio.VOCODER_SAMPLE_RATE, n_fft=audio.VOCODER_FFT, n_mels=audio.VOCODER_MELS, fmax=audio.VOCODER_FMAX
    )
    return filters, np.linalg.pinv(filters)
