"""Units -> mel spectrogram by a small convolutional net: what flow matching will replace (paper section 1).

One voice and plain regression: enough where every answer is spoken by the same voice, and hundreds
of times faster than real time on one CPU core.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.buckets import map_bucketed
from cslm_jax.speech import audio
from cslm_jax.speech.units import Speech


@dataclasses.dataclass(frozen=True)
class MelConfig:
    """Residual convolutions at the rate of the units, interpolation to the rate of the mel, more convolutions."""

    codes: int = 4096
    """Units of the speech tokenizer."""
    unit_rate: int = 25
    """Units a second, before merging."""
    unit_width: int = 192
    """Channels at the rate of the units, where the context is read."""
    unit_blocks: int = 2
    """Residual blocks at the rate of the units."""
    mel_width: int = 128
    """Channels at the rate of the mel, where the detail is drawn."""
    mel_blocks: int = 2
    """Residual blocks at the rate of the mel."""
    kernel: int = 5
    """Frames that a convolution sees."""

    def __post_init__(self):
        for name in ("codes", "unit_rate", "unit_width", "mel_width"):
            if getattr(self, name) <= 0:
                raise ValueError(f"mel.{name} must be positive, got {getattr(self, name)}")
        if self.kernel % 2 == 0:
            raise ValueError(f"mel.kernel must be odd, so that it has a middle, got {self.kernel}")

    @property
    def units_per_mel_frame(self) -> float:
        return self.unit_rate * audio.VOCODER_HOP / audio.VOCODER_SAMPLE_RATE

    def mel_frames(self, units):
        """Mel frames of so many units (a number or an array), int(n / 25 * 22050 / 256) as in CosyVoice.

        Integer arithmetic: the floor of a float32 product could fall short by one.
        """
        return units * audio.VOCODER_SAMPLE_RATE // (self.unit_rate * audio.VOCODER_HOP)


class ResidualBlock(nnx.Module):
    """x + linear(GELU(conv(LayerNorm(x)))), the conv on zeroed padding.

    LayerNorm looks at one frame only; a norm over time (GroupNorm) would see the padding of the bucket.
    """

    def __init__(self, width: int, kernel: int, *, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.convolution = nnx.Conv(width, width, kernel, rngs=rngs)
        self.output = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        hidden = self.convolution(self.norm(x) * present[..., None])
        return x + self.output(nnx.gelu(hidden))


def regulate(x: Float[Array, "B T D"], lengths: Int[Array, "B"], mel_frames: int, ratio: float) -> Float[Array, "B F D"]:
    """Linear interpolation from units to mel frames; `ratio` is units a mel frame.

    A unit of the S3 tokenizer is centred on its beginning, a frame of the vocoder's mel on the middle of its hop:
    frame f lies at (f + 0.5) ratio, held at the last unit of its own row.
    """
    last = jnp.maximum(lengths - 1, 0)[:, None]
    position = jnp.clip((jnp.arange(mel_frames) + 0.5) * ratio, 0, last)
    left = jnp.floor(position).astype(jnp.int32)
    right = jnp.minimum(left + 1, last)
    fraction = (position - left)[..., None]
    at = lambda index: jnp.take_along_axis(x, index[..., None], axis=1)
    return at(left) * (1 - fraction) + at(right) * fraction


class MelNet(nnx.Module):
    """Frames of units -> natural-log mel, standardised inside by the `mean` and `deviation` of the training data."""

    def __init__(self, config: MelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embedding = nnx.Embed(config.codes, config.unit_width, rngs=rngs)
        self.unit_blocks = nnx.List(
            [ResidualBlock(config.unit_width, config.kernel, rngs=rngs) for _ in range(config.unit_blocks)]
        )
        self.narrow = nnx.Linear(config.unit_width, config.mel_width, rngs=rngs)
        self.mel_blocks = nnx.List([ResidualBlock(config.mel_width, config.kernel, rngs=rngs) for _ in range(config.mel_blocks)])
        self.norm = nnx.LayerNorm(config.mel_width, rngs=rngs)
        self.output = nnx.Linear(config.mel_width, audio.VOCODER_MELS, rngs=rngs)
        self.mean = nnx.Variable(jnp.zeros(audio.VOCODER_MELS))
        self.deviation = nnx.Variable(jnp.ones(audio.VOCODER_MELS))

    def __call__(self, frames: Int[Array, "B T"], lengths: Int[Array, "B"]) -> Float[Array, "B F M"]:
        """Rows are padded to T units; F = int(T x samples a unit / hop), padded where the row is."""
        x = self.embedding(frames)
        present = jnp.arange(x.shape[1]) < lengths[:, None]
        for block in self.unit_blocks:
            x = block(x, present)
        x = regulate(self.narrow(x), lengths, self.config.mel_frames(x.shape[1]), self.config.units_per_mel_frame)
        present = jnp.arange(x.shape[1]) < self.config.mel_frames(lengths)[:, None]
        for block in self.mel_blocks:
            x = block(x, present)
        return self.output(self.norm(x)) * self.deviation[...] + self.mean[...]


def mel_loss(model: MelNet, batch: dict[str, Array], key: Array) -> Float[Array, ""]:
    """Mean absolute error of the standardised log-mel over the frames that are present."""
    del key
    predicted = model(batch["frames"], batch["lengths"])
    target = audio.vocoder_mel(batch["waveform"])[:, : predicted.shape[1]]
    error = jnp.mean(jnp.abs(predicted - target) / model.deviation[...], axis=-1)
    present = jnp.arange(error.shape[1]) < model.config.mel_frames(batch["lengths"])[:, None]
    return jnp.sum(error * present) / jnp.sum(present)


def mel_batches(
    config: MelConfig,
    utterances: Sequence[tuple[Speech, Float[np.ndarray, "S"]]],
    rows: int,
    window: int = 64,
    seed: int = 0,
) -> Callable[[int], dict[str, np.ndarray]]:
    """`batch(step)`: `rows` random windows of `window` units and the samples under them.

    Windows start anywhere, so the net also learns to speak a piece that is cut out of a sentence, as
    streaming will ask of it. Waveforms are at the vocoder's sample rate.
    """
    samples = audio.VOCODER_SAMPLE_RATE // config.unit_rate
    usable = [(speech.frames, waveform) for speech, waveform in utterances if len(speech.units)]
    if not usable:
        raise ValueError("the mel decoder needs utterances to learn from; got none")

    def batch(step: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng([seed, step])
        frames = np.zeros((rows, window), np.int32)
        waveforms = np.zeros((rows, window * samples), np.float32)
        lengths = np.zeros(rows, np.int32)
        for row, pick in enumerate(random.integers(len(usable), size=rows)):
            units, waveform = usable[pick]
            start = random.integers(max(len(units) - window, 0) + 1)
            taken = units[start : start + window]
            heard = waveform[start * samples : (start + window) * samples]
            frames[row, : len(taken)], lengths[row] = taken, len(taken)
            waveforms[row, : len(heard)] = heard
        return {"frames": frames, "waveform": waveforms, "lengths": lengths}

    return batch


def standardise(model: MelNet, batch: dict[str, np.ndarray]) -> None:
    """Sets the mean and the deviation of every mel bin from one large batch of `mel_batches`."""
    mel = np.asarray(jax.jit(audio.vocoder_mel)(batch["waveform"]))
    frames = np.concatenate([row[: model.config.mel_frames(length)] for row, length in zip(mel, batch["lengths"])])
    model.mean[...] = jnp.asarray(frames.mean(0))
    model.deviation[...] = jnp.asarray(np.maximum(frames.std(0), 1e-2))


@nnx.jit
def _mel(model: MelNet, frames: Array, lengths: Array) -> Array:
    return model(frames, lengths)


def mels(model: MelNet, rows: Sequence[Int[np.ndarray, "T"]]) -> list[Float[np.ndarray, "F M"]]:
    """Natural-log mel of every row of unit frames; rows of a batch equal single runs."""
    out = map_bucketed(functools.partial(_mel, model), rows)
    return [mel[: model.config.mel_frames(len(row))] for mel, row in zip(out, rows)]
