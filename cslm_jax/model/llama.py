"""The joint LM: a Llama-3 decoder over text pieces and speech units (paper section 1).

Parameters live in NNX modules that declare them once; everything outside sees a nested dictionary of arrays::

    params = initialise(config, key)
    hidden = bind(config, params)(tokens, positions, segment_ids)
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from cslm_jax.model import attention, cache, parameters, remat
from cslm_jax.model.axes import constrain
from cslm_jax.model.linear import linear
from cslm_jax.model.parameters import Declaration, Params
from cslm_jax.model.rope import RopeScaling, Rotation, rotation


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Architecture and numerics of the decoder."""

    vocabulary_size: int | None = None
    """Rows of the token table; None takes them from the vocabulary when the run starts."""
    width: int = 192
    """Model width D."""
    layers: int = 5
    """Decoder layers L."""
    heads: int = 4
    """Query heads H."""
    kv_heads: int = 2
    """Key/value heads G, a divisor of heads."""
    head_dim: int = 48
    """Size K of one head; even."""
    mlp_width: int = 512
    """Hidden width F of the gated MLP."""
    rope_theta: float = 500_000.0
    """Base of the rotary frequencies."""
    rope_scaling: RopeScaling | None = None
    """Llama-3.1 frequency scaling; None for none."""
    norm_epsilon: float = 1e-5
    """Added to the mean square in RMSNorm."""
    max_positions: int = 131_072
    """Longest text that the model is meant for. It limits nothing here; exported checkpoints tell it to other tools."""
    tied: bool = False
    """Use the token table as the output layer too."""
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the master weights."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of activations and matrix products; softmax, norms and loss stay in float32."""
    attention: str = "auto"
    """Attention kernel: reference, blocked, splash (TPU), cudnn (NVIDIA, bfloat16), or auto: the device's own, else blocked."""
    remat: str = "none"
    """What the backward pass keeps: none recomputes nothing; minimal, attention, offload, full (see remat.py) ever more."""
    unroll: int = 1
    """Layers per iteration of the scan over layers; all of them trades compile time for speed on a CPU."""

    def __post_init__(self):
        for name in ("width", "layers", "heads", "kv_heads", "head_dim", "mlp_width", "unroll"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name}={getattr(self, name)} must be at least 1")
        if self.heads % self.kv_heads:
            raise ValueError(f"model.heads={self.heads} must be a multiple of model.kv_heads={self.kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"model.head_dim={self.head_dim} must be even: rotary embedding turns pairs")
        if self.remat not in remat.POLICIES:
            raise ValueError(f"model.remat={self.remat!r}: choose {', '.join(remat.POLICIES)}")
        attention.check(self.attention)


class Attention(nnx.Module):
    """Grouped-query self-attention of one layer; parameters are stacked over layers when built."""

    def __init__(self, config: LlamaConfig, rngs: nnx.Rngs):
        self.config = config
        width, heads, kv_heads, head_dim = config.width, config.heads, config.kv_heads, config.head_dim
        declare = functools.partial(_declare, config, rngs)
        name = "model.layers.{layer}.self_attn."
        fan_in = width**-0.5
        self.query = declare((width, heads, head_dim), ("width", "heads", "head_dim"), fan_in, name + "q_proj.weight")
        self.key = declare((width, kv_heads, head_dim), ("width", "kv_heads", "head_dim"), fan_in, name + "k_proj.weight")
        self.value = declare((width, kv_heads, head_dim), ("width", "kv_heads", "head_dim"), fan_in, name + "v_proj.weight")
        self.output = declare(
            (heads, head_dim, width), ("heads", "head_dim", "width"), _residual(config, heads * head_dim), name + "o_proj.weight"
        )

    def project(self, x: Float[Array, "B T D"], rotate: Rotation):
        """Query, key and value of every position; query and key rotated."""
        return rotate(_heads(x, self.query)), rotate(_heads(x, self.key)), _heads(x, self.value)

    def merge(self, heads: Float[Array, "B T H K"]) -> Float[Array, "B T D"]:
        merged = checkpoint_name(heads, "attention").reshape(*heads.shape[:2], -1)
        return linear(merged, self.output.reshape(merged.shape[-1], -1))


class Mlp(nnx.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: LlamaConfig, rngs: nnx.Rngs):
        width, mlp = config.width, config.mlp_width
        declare = functools.partial(_declare, config, rngs)
        name = "model.layers.{layer}.mlp."
        self.gate = declare((width, mlp), ("width", "mlp"), width**-0.5, name + "gate_proj.weight")
        self.up = declare((width, mlp), ("width", "mlp"), width**-0.5, name + "up_proj.weight")
        self.down = declare((mlp, width), ("mlp", "width"), _residual(config, mlp), name + "down_proj.weight")

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        gated = jax.nn.silu(linear(x, self.gate.get_value())) * linear(x, self.up.get_value())
        return linear(gated, self.down.get_value())


class Block(nnx.Module):
    """One decoder layer. Built with a leading axis L on every parameter; `lax.scan` runs it a layer at a time."""

    def __init__(self, config: LlamaConfig, rngs: nnx.Rngs):
        self.epsilon = config.norm_epsilon
        name = "model.layers.{layer}."
        self.attention_norm = _declare(config, rngs, (config.width,), ("norm",), None, name + "input_layernorm.weight")
        self.attention = Attention(config, rngs)
        self.mlp_norm = _declare(config, rngs, (config.width,), ("norm",), None, name + "post_attention_layernorm.weight")
        self.mlp = Mlp(config, rngs)

    def __call__(self, x: Float[Array, "B T D"], rotate: Rotation, attend) -> Float[Array, "B T D"]:
        """`attend(query, key, value)` does the mixing between positions: packed segments, or a cache."""
        x = checkpoint_name(x, "layer_input")
        normed = rms_norm(x, self.attention_norm, self.epsilon)
        x = constrain(x + self.attention.merge(attend(*self.attention.project(normed, rotate))), "batch", "length", None)
        normed = rms_norm(x, self.mlp_norm, self.epsilon)
        return constrain(x + self.mlp(normed), "batch", "length", None)


class Llama(nnx.Module):
    """Token table, stacked layers, final norm, output layer."""

    def __init__(self, config: LlamaConfig, rngs: nnx.Rngs):
        self.config = config
        rows, width = config.vocabulary_size, config.width
        if rows is None:
            raise ValueError("model.vocabulary_size is not known yet; take it from the vocabulary before building")
        table = functools.partial(Declaration, (rows, width), ("vocabulary", "width"))
        self.embedding = parameters.parameter(table(0.02, "model.embed_tokens.weight"), config.param_dtype, rngs)
        self.blocks = Block(config, rngs)
        norm = Declaration((width,), ("norm",), None, "model.norm.weight")
        self.final_norm = parameters.parameter(norm, config.param_dtype, rngs)
        if not config.tied:
            self.output = parameters.parameter(table(0.02, "lm_head.weight"), config.param_dtype, rngs)

    def __call__(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"], segment_ids: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """Final hidden states of packed rows; segment 0 is padding, whose states mean nothing."""
        kernel = attention.select(self.config.attention, self.config.compute_dtype, self.config.head_dim)

        def layer(x, block, rotate, segments):
            return block(x, rotate, lambda query, key, value: kernel(query, key, value, segments))

        graph, stack = nnx.split(self.blocks)
        rotate = self._rotation(positions)
        layer_of = remat.checkpointed(
            lambda x, weights: (layer(x, nnx.merge(graph, weights), rotate, segment_ids), None), self.config.remat
        )
        x, _ = jax.lax.scan(layer_of, self._embed(tokens), stack, unroll=min(self.config.unroll, self.config.layers))
        return rms_norm(x, self.final_norm, self.config.norm_epsilon)

    def extend(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"], past: cache.Cache
    ) -> tuple[Float[Array, "B T D"], cache.Cache]:
        """Prefill (T > 1) or decode (T = 1): hidden states of new tokens, and the cache that now holds them too.

        Rows are independent: each has its own positions, and position -1 marks padding, which enters no cache.
        """
        graph, stack = nnx.split(self.blocks)
        rotate = self._rotation(positions)

        def layer(carry, inputs):
            x, past = carry
            weights, index = inputs

            def attend(query, key, value):
                nonlocal past
                past = past.write(index, positions, key, value)
                return attention.over_cache(query, past.keys[index], past.values[index], positions)

            x = nnx.merge(graph, weights)(x, rotate, attend)
            return (x, past), None

        (x, past), _ = jax.lax.scan(layer, (self._embed(tokens), past), (stack, jnp.arange(self.config.layers)))
        return rms_norm(x, self.final_norm, self.config.norm_epsilon), past

    def logits(self, hidden: Float[Array, "... D"]) -> Float[Array, "... V"]:
        """Scores of the next token in float32. Training uses `loss.next_token`, which never holds them all."""
        return jnp.einsum("...d,vd->...v", hidden, self.table.astype(hidden.dtype), preferred_element_type=jnp.float32)

    @property
    def table(self) -> Float[Array, "V D"]:
        """Rows of the output layer, in the master weights' type."""
        return (self.embedding if self.config.tied else self.output).get_value()

    def _embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        rows = jnp.take(self.embedding.get_value(), tokens, axis=0)
        return constrain(rows.astype(self.config.compute_dtype), "batch", "length", None)

    def _rotation(self, positions: Int[Array, "B T"]) -> Rotation:
        config = self.config
        return rotation(positions, config.head_dim, config.rope_theta, config.rope_scaling, jnp.dtype(config.compute_dtype))


def rms_norm(x: Float[Array, "B T D"], scale: Float[Array, "D"], epsilon: float) -> Float[Array, "B T D"]:
    """RMSNorm (Zhang and Sennrich 2019) in float32."""
    x_f32 = x.astype(jnp.float32)
    normed = x_f32 * jax.lax.rsqrt(jnp.mean(jnp.square(x_f32), axis=-1, keepdims=True) + epsilon)
    return (normed * jnp.asarray(scale, jnp.float32)).astype(x.dtype)


def initialise(config: LlamaConfig, key: jax.Array) -> Params:
    """Fresh parameters; jit it with `out_shardings` to create them in place on a mesh."""
    return parameters.values(Llama(config, nnx.Rngs(params=key)))


def declared(config: LlamaConfig) -> Params:
    """Declarations of all parameters, nested like the parameters themselves; allocates nothing."""
    return parameters.declarations(_abstract(config))


def bind(config: LlamaConfig, params: Params) -> Llama:
    """The model over these parameters; cheap, made to be called inside jit."""
    graph, state = nnx.split(_abstract(config))
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graph, state)


@functools.cache
def _abstract(config: LlamaConfig) -> Llama:
    return nnx.eval_shape(lambda: Llama(config, nnx.Rngs(params=0)))


def _declare(config, rngs, shape, axes, stddev, published) -> nnx.Param:
    declaration = parameters.stacked(config.layers, Declaration(shape, axes, stddev, published))
    return parameters.parameter(declaration, config.param_dtype, rngs)


def _residual(config: LlamaConfig, fan_in: int) -> float:
    """Layers that write to the residual stream start smaller, so that its variance does not grow with depth."""
    return (fan_in * 2 * config.layers) ** -0.5


def _heads(x: Float[Array, "B T D"], weight: nnx.Param) -> Float[Array, "B T H K"]:
    width, heads, head_dim = weight.shape
    return linear(x, weight.reshape(width, heads * head_dim)).reshape(*x.shape[:2], heads, head_dim)
