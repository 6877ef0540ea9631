"""wav2vec 2.0 with a CTC head (Baevski et al. 2020), as Hugging Face publishes it; names are the published ones.

Two builds: "base" (group norm on the first convolution, LayerNorm behind each residual sum) and "large lv60" / XLSR
(LayerNorm on every convolution, and before attention and MLP).

The group norm of the base models sees all frames of a row, so padding would change every output; the published remedy is
not to pad. Here its statistics, the positional convolution and the attention all leave padding out: a row of a padded
batch gives what it gives alone.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class Wav2Vec2Config:
    """Sizes; the defaults are those of wav2vec2-base-960h."""

    labels: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    conv_widths: tuple[int, ...] = (512,) * 7
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    conv_norm: str = "group"
    """group: over time, on the first convolution; layer: over channels, on every one."""
    norm_first: bool = False
    """LayerNorm before attention and MLP, not behind."""
    position_kernel: int = 128
    position_groups: int = 16
    norm_epsilon: float = 1e-5
    compute_dtype: str = "float32"

    @property
    def hop(self) -> int:
        """Samples between two frames."""
        return math.prod(self.conv_strides)

    @property
    def receptive(self) -> int:
        """Samples that a frame hears."""
        heard = 1
        for kernel, stride in zip(reversed(self.conv_kernels), reversed(self.conv_strides), strict=True):
            heard = (heard - 1) * stride + kernel
        return heard

    def frames(self, samples: int | Int[Array, "B"]) -> int | Int[Array, "B"]:
        """Frames of so many samples."""
        for kernel, stride in zip(self.conv_kernels, self.conv_strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


class TimeNorm(nnx.Module):
    """Group norm of one channel a group: each channel over the frames that are there."""

    def __init__(self, width: int):
        self.scale, self.bias = nnx.Param(jnp.ones(width)), nnx.Param(jnp.zeros(width))

    def __call__(self, x: Float[Array, "B T D"], lengths: Int[Array, "B"]) -> Float[Array, "B T D"]:
        present, wide = _present(x, lengths)[..., None], x.astype(jnp.float32)
        mean = jnp.mean(wide, axis=1, keepdims=True, where=present)
        variance = jnp.var(wide, axis=1, keepdims=True, where=present)
        return ((wide - mean) * jax.lax.rsqrt(variance + 1e-5) * self.scale[...] + self.bias[...]).astype(x.dtype)


class ConvLayer(nnx.Module):
    """Strided convolution, norm where there is one, GELU."""

    def __init__(self, config: Wav2Vec2Config, number: int, *, rngs: nnx.Rngs):
        inputs = config.conv_widths[number - 1] if number else 1
        width, self.kernel, self.stride = config.conv_widths[number], config.conv_kernels[number], config.conv_strides[number]
        bias, dtype = config.conv_bias, config.compute_dtype
        self.conv = nnx.Conv(
            inputs, width, (self.kernel,), strides=self.stride, padding="VALID", use_bias=bias, dtype=dtype, rngs=rngs
        )
        self.layer_norm = _conv_norm(config, number, rngs)

    def __call__(self, x: Float[Array, "B S C"], lengths: Int[Array, "B"]) -> tuple[Float[Array, "B T D"], Int[Array, "B"]]:
        x, lengths = self.conv(x), (lengths - self.kernel) // self.stride + 1
        match self.layer_norm:
            case TimeNorm():
                x = self.layer_norm(x, lengths)
            case nnx.LayerNorm():
                x = self.layer_norm(x)
        return jax.nn.gelu(x, approximate=False), lengths


def _conv_norm(config: Wav2Vec2Config, number: int, rngs: nnx.Rngs) -> nnx.LayerNorm | TimeNorm | None:
    if config.conv_norm == "layer":
        return nnx.LayerNorm(config.conv_widths[number], epsilon=1e-5, dtype=config.compute_dtype, rngs=rngs)
    return TimeNorm(config.conv_widths[number]) if number == 0 else None


class FeatureExtractor(nnx.Module):
    """Samples -> frames."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        self.conv_layers = nnx.List([ConvLayer(config, i, rngs=rngs) for i in range(len(config.conv_widths))])

    def __call__(self, x: Float[Array, "B S"], lengths: Int[Array, "B"]) -> tuple[Float[Array, "B T C"], Int[Array, "B"]]:
        x = x[..., None]
        for layer in self.conv_layers:
            x, lengths = layer(x, lengths)
        return x, lengths


class FeatureProjection(nnx.Module):
    """Frames -> the width of the transformer."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        self.layer_norm = _layer_norm(config, config.conv_widths[-1], rngs)
        self.projection = nnx.Linear(config.conv_widths[-1], config.width, dtype=config.compute_dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B T D"]:
        return self.projection(self.layer_norm(x))


class PositionalConv(nnx.Module):
    """A wide grouped convolution in place of position embeddings. Its weight norm is folded in where weights are read."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        span, dtype = config.position_kernel, config.compute_dtype
        padding, groups = [(span // 2, (span - 1) // 2)], config.position_groups
        self.conv = nnx.Conv(
            config.width, config.width, (span,), padding=padding, feature_group_count=groups, dtype=dtype, rngs=rngs
        )

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return jax.nn.gelu(self.conv(x), approximate=False)


class Attention(nnx.Module):
    """Full self-attention over the frames that are there."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (_linear(config, rngs=rngs) for _ in range(4))

    def __call__(self, x: Float[Array, "B T D"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        split = (*x.shape[:2], self.heads, x.shape[-1] // self.heads)
        q, k, v = (layer(x).reshape(split) for layer in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(jax.nn.dot_product_attention(q, k, v, mask=present[:, None, None]).reshape(x.shape))


class FeedForward(nnx.Module):
    """Two matrices with GELU between."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        self.intermediate_dense = nnx.Linear(config.width, config.mlp_width, dtype=config.compute_dtype, rngs=rngs)
        self.output_dense = nnx.Linear(config.mlp_width, config.width, dtype=config.compute_dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return self.output_dense(jax.nn.gelu(self.intermediate_dense(x), approximate=False))


class EncoderLayer(nnx.Module):
    """Attention and MLP, each in a residual sum."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        self.norm_first = config.norm_first
        self.attention = Attention(config, rngs=rngs)
        self.layer_norm = _layer_norm(config, config.width, rngs)
        self.feed_forward = FeedForward(config, rngs=rngs)
        self.final_layer_norm = _layer_norm(config, config.width, rngs)

    def __call__(self, x: Float[Array, "B T D"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        if self.norm_first:
            x = x + self.attention(self.layer_norm(x), present)
            return x + self.feed_forward(self.final_layer_norm(x))
        x = self.layer_norm(x + self.attention(x, present))
        return self.final_layer_norm(x + self.feed_forward(x))


class Encoder(nnx.Module):
    """Positions and the layers; all of them one above the other, so that one is compiled."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        self.norm_first = config.norm_first
        self.pos_conv_embed = PositionalConv(config, rngs=rngs)
        self.layer_norm = _layer_norm(config, config.width, rngs)

        @nnx.split_rngs(splits=config.layers)
        @nnx.vmap
        def layer(rngs: nnx.Rngs) -> EncoderLayer:
            return EncoderLayer(config, rngs=rngs)

        self.layers = layer(rngs)

    def __call__(self, x: Float[Array, "B T D"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        x = jnp.where(present[..., None], x, 0)
        x = x + self.pos_conv_embed(x)

        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def through(layer: EncoderLayer, x: Array) -> Array:
            return layer(x, present)

        return self.layer_norm(through(self.layers, x)) if self.norm_first else through(self.layers, self.layer_norm(x))


class Wav2Vec2(nnx.Module):
    """Normalised samples -> label log-probabilities."""

    def __init__(self, config: Wav2Vec2Config, *, rngs: nnx.Rngs):
        self.config = config
        self.feature_extractor = FeatureExtractor(config, rngs=rngs)
        self.feature_projection = FeatureProjection(config, rngs=rngs)
        self.encoder = Encoder(config, rngs=rngs)
        self.lm_head = nnx.Linear(config.width, config.labels, rngs=rngs)

    def __call__(self, samples: Float[Array, "B S"], lengths: Int[Array, "B"]) -> Float[Array, "B T V"]:
        """What stands behind `config.frames(lengths)` means nothing."""
        x, lengths = self.feature_extractor(samples.astype(self.config.compute_dtype), lengths)
        x = self.encoder(self.feature_projection(x), _present(x, lengths))
        return jax.nn.log_softmax(self.lm_head(x.astype(jnp.float32)))


def _linear(config: Wav2Vec2Config, *, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(config.width, config.width, dtype=config.compute_dtype, rngs=rngs)


def _layer_norm(config: Wav2Vec2Config, width: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(width, epsilon=config.norm_epsilon, dtype=config.compute_dtype, rngs=rngs)


def _present(x: Array, lengths: Int[Array, "B"]) -> Bool[Array, "B T"]:
    return jnp.arange(x.shape[1]) < lengths[:, None]
