"""The supervised semantic speech (S3) tokenizer of CosyVoice: log-mel -> units, and the CTC head that teaches it.

Encoder and quantiser have the structure of the published versions (reference: xingchensong/S3Tokenizer; version 1: Du
et al. 2024, arXiv 2407.05407; version 2: Du et al. 2024, arXiv 2412.10117), so that their weights fit. CosyVoice trained
them inside a speech recogniser; here the recogniser's second half is a few blocks and a CTC head behind the quantiser, so
everything that the text needs has to go through the units. What is published comes without.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.model.rope import Rotation, rotation
from cslm_jax.speech.s3_config import S3Config
from cslm_jax.speech.s3_quantizer import CodebookQuantizer, FiniteScalarQuantizer


def positions(frames: int, width: int) -> Float[np.ndarray, "T D"]:
    """Whisper's sinusoids: sines in the first half of the channels, cosines in the second."""
    rates = np.exp(-np.log(10000.0) / (width // 2 - 1) * np.arange(width // 2))
    angles = np.arange(frames)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class Downsample(nnx.Module):
    """Convolution of width 3, written as one product: XLA's strided convolution is slow on a CPU."""

    def __init__(self, into: int, out: int, stride: int, dtype: jnp.dtype = jnp.float32, *, rngs: nnx.Rngs):
        self.stride = stride
        self.kernel = nnx.Param(nnx.initializers.lecun_normal(in_axis=(0, 1))(rngs.params(), (3, into, out), dtype))
        self.bias = nnx.Param(jnp.zeros(out, dtype))

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B U O"]:
        out = -(-x.shape[1] // self.stride)
        padded = jnp.pad(x.astype(self.kernel.dtype), ((0, 0), (1, 1 + self.stride), (0, 0)))
        taps = [padded[:, i : i + out * self.stride : self.stride] for i in range(3)]
        return jnp.concatenate(taps, axis=-1) @ self.kernel[...].reshape(-1, self.kernel.shape[-1]) + self.bias[...]


class Memory(nnx.Module):
    """Weighted sum of a unit's neighbours, channel by channel (FSMN, version 2 of the tokenizer)."""

    def __init__(self, width: int, span: int, dtype: jnp.dtype = jnp.float32, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.normal(span**-0.5)(rngs.params(), (span, width), dtype))

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        span, frames = len(self.kernel[...]), x.shape[1]
        padded = jnp.pad(x, ((0, 0), (span // 2, span - 1 - span // 2), (0, 0)))
        return x + sum(padded[:, i : i + frames] * self.kernel[...][i] for i in range(span))


class Attention(nnx.Module):
    """Whisper's self-attention: no bias on the keys, queries and keys both scaled by head_dim^-1/4.

    In version 2 queries and keys are turned by their positions, and a memory of the values stands beside the attention.
    """

    def __init__(self, config: S3Config, *, rngs: nnx.Rngs):
        self.heads, dtype = config.heads, config.compute_dtype
        self.memory = Memory(config.width, config.memory, dtype, rngs=rngs) if config.memory else None
        self.query = _linear(config, config.width, config.width, rngs)
        self.key = _linear(config, config.width, config.width, rngs, use_bias=False)
        self.value = _linear(config, config.width, config.width, rngs)
        self.out = _linear(config, config.width, config.width, rngs)

    def __call__(
        self, x: Float[Array, "B T D"], present: Bool[Array, "B T"], turn: Rotation | None = None
    ) -> Float[Array, "B T D"]:
        split = (*x.shape[:2], self.heads, x.shape[-1] // self.heads)
        scale = split[-1] ** -0.25
        q, k, v = (layer(x).reshape(split) for layer in (self.query, self.key, self.value))
        if turn is not None:
            q, k = turn(q), turn(k)
        scores = jnp.einsum("bthk,bshk->bhts", q * scale, k * scale, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(jnp.where(present[:, None, None], scores, -1e10), axis=-1).astype(v.dtype)
        mixed = self.out(jnp.einsum("bhts,bshk->bthk", weights, v).reshape(x.shape))
        if self.memory is None:
            return mixed
        return mixed + self.memory(v.reshape(x.shape) * present[:, :, None])


class Block(nnx.Module):
    """Pre-LayerNorm transformer block."""

    def __init__(self, config: S3Config, *, rngs: nnx.Rngs):
        width, hidden = config.width, config.width * config.mlp_ratio
        self.attn_ln = nnx.LayerNorm(width, epsilon=config.attention_epsilon, rngs=rngs)
        self.attn = Attention(config, rngs=rngs)
        self.mlp_ln = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        self.mlp_in = _linear(config, width, hidden, rngs)
        self.mlp_out = _linear(config, hidden, width, rngs)

    def __call__(
        self, x: Float[Array, "B T D"], present: Bool[Array, "B T"], turn: Rotation | None = None
    ) -> Float[Array, "B T D"]:
        x = x + self.attn(self.attn_ln(x), present, turn)
        return x + self.mlp_out(jax.nn.gelu(self.mlp_in(self.mlp_ln(x)), approximate=False))


class Encoder(nnx.Module):
    """Two convolutions and transformer blocks, without a final norm."""

    def __init__(self, config: S3Config, *, rngs: nnx.Rngs):
        self.config = config
        self.conv1 = Downsample(config.mels, config.width, config.first_stride, config.compute_dtype, rngs=rngs)
        self.conv2 = Downsample(config.width, config.width, 2, config.compute_dtype, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.layers)])

    def __call__(self, mel: Float[Array, "B T M"], lengths: Int[Array, "B"]) -> Float[Array, "B U D"]:
        """States of ceil(T / 4) units (25 Hz); the mask before each convolution keeps padding out."""
        x = jax.nn.gelu(self.conv1(mel * _present(mel, lengths)[..., None]), approximate=False)
        halfway = -(-lengths // self.config.first_stride)
        x = jax.nn.gelu(self.conv2(x * _present(x, halfway)[..., None]), approximate=False)
        return _pass(self.blocks, self.config, x.astype(jnp.float32), _present(x, self.config.units(lengths)))


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
        return self.outlet(self.norm(_pass(self.blocks, self.config, x, present)))


class S3Tokenizer(nnx.Module):
    """Log-mel -> units -> CTC logits, where there is a CTC head."""

    def __init__(self, config: S3Config, labels: int | None = None, *, rngs: nnx.Rngs):
        """`labels` is the size of the CTC head; None where config.recogniser_layers is None."""
        if (labels is None) != (config.recogniser_layers is None):
            raise ValueError(f"s3: {labels} labels do not go with recogniser_layers = {config.recogniser_layers}")
        self.config = config
        self.encoder = Encoder(config, rngs=rngs)
        self.quantizer = {"codebook": CodebookQuantizer, "fsq": FiniteScalarQuantizer}[config.quantiser](config, rngs=rngs)
        self.recogniser = None if labels is None else Recogniser(config, labels, rngs=rngs)
        self.early_outlet = None if labels is None else _outlet(config.width, labels, rngs)
        """CTC head on the encoder's own states, for training only: without it gradients reach the encoder through the
        quantiser alone, and learning takes several times as long (intermediate CTC, Lee and Watanabe 2021)."""

    def __call__(
        self, mel: Float[Array, "B T M"], lengths: Int[Array, "B"]
    ) -> tuple[Int[Array, "B U"], Float[Array, "B U V"] | None]:
        """Units and label log-probabilities (None without CTC head); what stands behind `config.units(lengths)` means nothing."""
        units = self.quantizer.codes(self.encoder(mel, lengths))
        if self.recogniser is None:
            return units, None
        logits = self.recogniser(self.quantizer.lookup(units), _present(units, self.config.units(lengths)))
        return units, jax.nn.log_softmax(logits)


def _outlet(width: int, labels: int, rngs: nnx.Rngs) -> nnx.Linear:
    """To CTC logits, with the blank as likely as all labels together: the state that CTC training first falls into."""
    layer = nnx.Linear(width, labels, rngs=rngs)
    layer.bias[...] = layer.bias[...].at[0].set(np.log(labels))
    return layer


def _linear(config: S3Config, into: int, out: int, rngs: nnx.Rngs, use_bias: bool = True) -> nnx.Linear:
    dtype = config.compute_dtype
    return nnx.Linear(into, out, use_bias=use_bias, dtype=dtype, param_dtype=dtype, rngs=rngs)


def _pass(blocks: Sequence[Block], config: S3Config, x: Float[Array, "B T D"], present: Bool[Array, "B T"]) -> Array:
    """Through the blocks, with the positions told in the config's way; between blocks states are float32."""
    turn, frames = None, x.shape[1]
    if config.positions == "rotary":
        turn = rotation(jnp.arange(frames)[None], config.width // config.heads, 10000.0, None, config.compute_dtype)
    else:
        x = x + config.position_scale * positions(max(frames, config.max_frames), config.width)[:frames]
    for block in blocks:
        x = block(x, present, turn)
    return x


def _present(x: Array, lengths: Int[Array, "B"]) -> Bool[Array, "B T"]:
    return jnp.arange(x.shape[1]) < lengths[:, None]
