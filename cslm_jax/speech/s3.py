"""The supervised semantic speech (S3) tokenizer of CosyVoice: log-mel -> units, and the CTC head that teaches it.

Encoder and quantiser have the structure of the published version 1 (reference: xingchensong/S3Tokenizer;
Du et al. 2024, arXiv 2407.05407), so its weights fit. CosyVoice trained them inside a speech recogniser; here
the recogniser's second half is a few blocks and a CTC head behind the quantiser, so everything that the text
needs has to go through the units.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

MEL_RATE = 100
"""Log-mel frames a second."""


@dataclasses.dataclass(frozen=True)
class S3Config:
    """Sizes of the tokenizer; the defaults are those of CosyVoice-300M-25Hz."""

    mels: int = 128
    """Mel bins of the input."""
    width: int = 1280
    """Model width, and the width of a codebook entry."""
    heads: int = 20
    """Attention heads."""
    layers: int = 6
    """Blocks before the quantiser."""
    mlp_ratio: int = 4
    """Width of the MLP in multiples of the model width."""
    codes: int = 4096
    """Entries of the codebook: the number of different units."""
    unit_rate: Literal[25, 50] = 25
    """Units a second, before merging."""
    recogniser_layers: int = 6
    """Blocks between the quantiser and the CTC head."""
    memory: int = 0
    """Units that the convolutional memory beside the attention spans; 0 for none, as in version 1 (version 2: 31)."""
    position_scale: float = 1.0
    """Factor of the sinusoids that are added to the input of the blocks."""
    max_frames: int = 1500
    """Longest utterance in units; what it is padded with may reach beyond."""

    def __post_init__(self):
        for field in ("mels", "width", "heads", "layers", "mlp_ratio", "codes", "max_frames"):
            if getattr(self, field) < 1:
                raise ValueError(f"s3: {field} must be at least 1, got {getattr(self, field)}")
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"s3: width must be even and a multiple of heads, got {self.width} and {self.heads}")
        if self.unit_rate not in (25, 50):
            raise ValueError(f"s3: unit_rate must be 25 or 50, got {self.unit_rate}")
        if self.recogniser_layers < 0:
            raise ValueError(f"s3: recogniser_layers must not be negative, got {self.recogniser_layers}")

    @property
    def first_stride(self) -> int:
        """Stride of the first convolution; the second one's is 2."""
        return MEL_RATE // self.unit_rate // 2

    def units(self, mel_frames: Int[Array, "..."]) -> Int[Array, "..."]:
        """Units that come out of so many mel frames: the quotient, rounded up."""
        ratio = MEL_RATE // self.unit_rate
        return (mel_frames + ratio - 1) // ratio


def positions(frames: int, width: int) -> Float[np.ndarray, "T D"]:
    """Whisper's sinusoids: sines in the first half of the channels, cosines in the second."""
    rates = np.exp(-np.log(10000.0) / (width // 2 - 1) * np.arange(width // 2))
    angles = np.arange(frames)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class Downsample(nnx.Module):
    """Convolution of width 3, written as one product: XLA's strided convolution is slow on a CPU."""

    def __init__(self, into: int, out: int, stride: int, *, rngs: nnx.Rngs):
        self.stride = stride
        self.kernel = nnx.Param(nnx.initializers.lecun_normal(in_axis=(0, 1))(rngs.params(), (3, into, out)))
        self.bias = nnx.Param(jnp.zeros(out))

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B U O"]:
        out = -(-x.shape[1] // self.stride)
        padded = jnp.pad(x, ((0, 0), (1, 1 + self.stride), (0, 0)))
        taps = [padded[:, i : i + out * self.stride : self.stride] for i in range(3)]
        return jnp.concatenate(taps, axis=-1) @ self.kernel[...].reshape(-1, self.kernel.shape[-1]) + self.bias[...]


class Memory(nnx.Module):
    """Weighted sum of a unit's neighbours, channel by channel (FSMN, version 2 of the tokenizer)."""

    def __init__(self, width: int, span: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.normal(span**-0.5)(rngs.params(), (span, width)))

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        span, frames = len(self.kernel[...]), x.shape[1]
        padded = jnp.pad(x, ((0, 0), (span // 2, span - 1 - span // 2), (0, 0)))
        return x + sum(padded[:, i : i + frames] * self.kernel[...][i] for i in range(span))


class Attention(nnx.Module):
    """Whisper's self-attention: no bias on the keys, queries and keys both scaled by head_dim^-1/4."""

    def __init__(self, config: S3Config, *, rngs: nnx.Rngs):
        width, self.heads = config.width, config.heads
        self.memory = Memory(width, config.memory, rngs=rngs) if config.memory else None
        self.query = nnx.Linear(width, width, rngs=rngs)
        self.key = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.value = nnx.Linear(width, width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        split = (*x.shape[:2], self.heads, x.shape[-1] // self.heads)
        scale = split[-1] ** -0.25
        q, k, v = (layer(x).reshape(split) for layer in (self.query, self.key, self.value))
        scores = jnp.einsum("bthk,bshk->bhts", q * scale, k * scale)
        weights = jax.nn.softmax(jnp.where(present[:, None, None], scores, -1e10), axis=-1)
        mixed = self.out(jnp.einsum("bhts,bshk->bthk", weights, v).reshape(x.shape))
        if self.memory is None:
            return mixed
        return mixed + self.memory(v.reshape(x.shape) * present[:, :, None])


class Block(nnx.Module):
    """Pre-LayerNorm transformer block."""

    def __init__(self, config: S3Config, *, rngs: nnx.Rngs):
        width = config.width
        self.attn_ln = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        self.attn = Attention(config, rngs=rngs)
        self.mlp_ln = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        self.mlp_in = nnx.Linear(width, width * config.mlp_ratio, rngs=rngs)
        self.mlp_out = nnx.Linear(width * config.mlp_ratio, width, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        x = x + self.attn(self.attn_ln(x), present)
        return x + self.mlp_out(jax.nn.gelu(self.mlp_in(self.mlp_ln(x)), approximate=False))


class Encoder(nnx.Module):
    """Two convolutions and transformer blocks, without a final norm."""

    def __init__(self, config: S3Config, *, rngs: nnx.Rngs):
        self.config = config
        self.conv1 = Downsample(config.mels, config.width, config.first_stride, rngs=rngs)
        self.conv2 = Downsample(config.width, config.width, 2, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.layers)])

    def __call__(self, mel: Float[Array, "B T M"], lengths: Int[Array, "B"]) -> Float[Array, "B U D"]:
        """States of ceil(T / 4) units (25 Hz); the mask before each convolution keeps padding out."""
        x = jax.nn.gelu(self.conv1(mel * _present(mel, lengths)[..., None]), approximate=False)
        halfway = -(-lengths // self.config.first_stride)
        x = jax.nn.gelu(self.conv2(x * _present(x, halfway)[..., None]), approximate=False)
        x = x + _positions(self.config, x.shape[1])
        present = _present(x, self.config.units(lengths))
        for block in self.blocks:
            x = block(x, present)
        return x


class Codebook(nnx.Variable):
    """The quantiser's entries and their running statistics: learnt, but not by gradients."""


class Quantizer(nnx.Module):
    """Nearest entry to the L2-normalised state; the entries are running means of what fell to them.

    States share a large common part, which would leave them all in one direction; its running mean is taken off
    first. (The published weights know no such centre: zero.)
    """

    def __init__(self, config: S3Config, *, rngs: nnx.Rngs):
        entries = _unit_length(jax.random.normal(rngs.params(), (config.codes, config.width)))
        self.embed = Codebook(entries)
        self.center = Codebook(jnp.zeros(config.width))
        self.sums = Codebook(entries)
        self.counts = Codebook(jnp.ones(config.codes))

    def normalise(self, x: Float[Array, "B U D"]) -> Float[Array, "B U D"]:
        """States as they are compared with the entries: centred and of length 1."""
        return _unit_length(x - self.center[...])

    def codes(self, x: Float[Array, "B U D"]) -> Int[Array, "B U"]:
        """Unit of every state."""
        entries = self.embed[...]
        distance = jnp.sum(jnp.square(entries), axis=-1) - 2 * self.normalise(x) @ entries.T
        return jnp.argmin(distance, axis=-1).astype(jnp.int32)

    def lookup(self, codes: Int[Array, "B U"]) -> Float[Array, "B U D"]:
        """Entry of every unit."""
        return self.embed[...][codes]

    def through(self, x: Float[Array, "B U D"], codes: Int[Array, "B U"]) -> tuple[Float[Array, "B U D"], Float[Array, "B U"]]:
        """Entries whose gradient passes to the states (straight-through), and their squared distance from these."""
        states, entries = self.normalise(x), jax.lax.stop_gradient(self.lookup(codes))
        return states + jax.lax.stop_gradient(entries - states), jnp.sum(jnp.square(states - entries), axis=-1)

    def perplexity(self) -> Float[Array, ""]:
        """How many entries are in use: as many as a codebook has whose entries are all equally frequent."""
        share = self.counts[...] / jnp.sum(self.counts[...])
        return jnp.exp(-jnp.sum(share * jnp.log(share + 1e-9)))

    def learn(
        self, x: Float[Array, "B U D"], codes: Int[Array, "B U"], present: Bool[Array, "B U"], key: Array, decay: float
    ) -> None:
        """Moves every entry towards the mean of the states that fell to it, and the unused ones onto random states."""
        x = jax.lax.stop_gradient(x).reshape(-1, x.shape[-1])
        states, weights = self.normalise(x), present.reshape(-1).astype(jnp.float32)
        count = jax.ops.segment_sum(weights, codes.reshape(-1), len(self.counts[...]))
        total = jax.ops.segment_sum(states * weights[:, None], codes.reshape(-1), len(count))
        counts = decay * self.counts[...] + (1 - decay) * count
        sums = decay * self.sums[...] + (1 - decay) * total
        # An entry with less than a twentieth of its fair share is dead; it starts again with twice as much.
        share = 0.1 * jnp.sum(weights) / len(count)
        dead = counts < share / 2
        self.counts[...] = jnp.where(dead, share, counts)
        self.sums[...] = jnp.where(dead[:, None], states[_random_rows(key, weights, len(count))] * share, sums)
        self.embed[...] = _unit_length(self.sums[...])
        mean = jnp.sum(x * weights[:, None], axis=0) / jnp.sum(weights)
        self.center[...] = decay * self.center[...] + (1 - decay) * mean


class Recogniser(nnx.Module):
    """Units -> CTC logits: the half of the recogniser that is only needed for training, transcripts and alignment."""

    def __init__(self, config: S3Config, labels: int, *, rngs: nnx.Rngs):
        self.config = config
        self.inlet = nnx.Linear(config.width, config.width, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.recogniser_layers)])
        self.norm = nnx.LayerNorm(config.width, epsilon=1e-5, rngs=rngs)
        self.outlet = _outlet(config.width, labels, rngs)

    def __call__(self, entries: Float[Array, "B U D"], present: Bool[Array, "B U"]) -> Float[Array, "B U V"]:
        # Entries have length 1; the blocks expect channels of about 1.
        x = self.inlet(entries * np.sqrt(self.config.width).astype(np.float32))
        x = x + _positions(self.config, x.shape[1])
        for block in self.blocks:
            x = block(x, present)
        return self.outlet(self.norm(x))


class S3Tokenizer(nnx.Module):
    """Log-mel -> units -> CTC logits."""

    def __init__(self, config: S3Config, labels: int, *, rngs: nnx.Rngs):
        self.config = config
        self.encoder = Encoder(config, rngs=rngs)
        self.quantizer = Quantizer(config, rngs=rngs)
        self.recogniser = Recogniser(config, labels, rngs=rngs)
        self.early_outlet = _outlet(config.width, labels, rngs)
        """CTC head on the encoder's own states, for training only: without it gradients reach the encoder through the
        quantiser alone, and learning takes several times as long (intermediate CTC, Lee and Watanabe 2021)."""

    def __call__(self, mel: Float[Array, "B T M"], lengths: Int[Array, "B"]) -> tuple[Int[Array, "B U"], Float[Array, "B U V"]]:
        """Units and label log-probabilities; what stands behind `config.units(lengths)` means nothing."""
        units = self.quantizer.codes(self.encoder(mel, lengths))
        logits = self.recogniser(self.quantizer.lookup(units), _present(units, self.config.units(lengths)))
        return units, jax.nn.log_softmax(logits)


def _outlet(width: int, labels: int, rngs: nnx.Rngs) -> nnx.Linear:
    """To CTC logits, with the blank as likely as all labels together: the state that CTC training first falls into."""
    layer = nnx.Linear(width, labels, rngs=rngs)
    layer.bias[...] = layer.bias[...].at[0].set(np.log(labels))
    return layer


def _positions(config: S3Config, frames: int) -> Float[np.ndarray, "T D"]:
    return config.position_scale * positions(max(frames, config.max_frames), config.width)[:frames]


def _present(x: Array, lengths: Int[Array, "B"]) -> Bool[Array, "B T"]:
    return jnp.arange(x.shape[1]) < lengths[:, None]


def _unit_length(x: Float[Array, "... D"]) -> Float[Array, "... D"]:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _random_rows(key: Array, weights: Float[Array, "N"], count: int) -> Int[Array, "count"]:
    """Indices of `count` rows drawn evenly from those of weight 1."""
    cumulative = jnp.cumsum(weights)
    drawn = jax.random.uniform(key, (count,)) * cumulative[-1]
    return jnp.searchsorted(cumulative, drawn, side="right").clip(0, len(weights) - 1)
