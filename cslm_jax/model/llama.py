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
from cslm_jax.model.lora import Adapter, LoraConfig, adapted, look_up
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
    lora: LoraConfig = LoraConfig()
    """Adapters beside frozen weights; by default none, and everything is trained."""
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the master weights; under LoRA that of the frozen ones, and those that are trained are float32."""
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
        matrix = functools.partial(_matrix, config, rngs)
        name = "model.layers.{layer}.self_attn."
        fan_in, fan_out = width**-0.5, _residual(config, heads * head_dim)
        inner, kv_inner = (heads, head_dim), (kv_heads, head_dim)
        axes, kv_axes = ("heads", "head_dim"), ("kv_heads", "head_dim")
        self.query, self.query_lora = matrix((width, *inner), ("width", *axes), fan_in, name + "q_proj.weight")
        self.key, self.key_lora = matrix((width, *kv_inner), ("width", *kv_axes), fan_in, name + "k_proj.weight")
        self.value, self.value_lora = matrix((width, *kv_inner), ("width", *kv_axes), fan_in, name + "v_proj.weight")
        self.output, self.output_lora = matrix((*inner, width), (*axes, "width"), fan_out, name + "o_proj.weight")

    def project(self, x: Float[Array, "B T D"], rotate: Rotation):
        """Query, key and value of every position; query and key rotated."""
        query, key = _heads(x, self.query, self.query_lora), _heads(x, self.key, self.key_lora)
        return rotate(query), rotate(key), _heads(x, self.value, self.value_lora)

    def merge(self, heads: Float[Array, "B T H K"]) -> Float[Array, "B T D"]:
        merged = checkpoint_name(heads, "attention").reshape(*heads.shape[:2], -1)
        return adapted(merged, self.output.reshape(merged.shape[-1], -1), self.output_lora)


class Mlp(nnx.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: LlamaConfig, rngs: nnx.Rngs):
        width, mlp = config.width, config.mlp_width
        matrix = functools.partial(_matrix, config, rngs)
        name = "model.layers.{layer}.mlp."
        self.gate, self.gate_lora = matrix((width, mlp), ("width", "mlp"), width**-0.5, name + "gate_proj.weight")
        self.up, self.up_lora = matrix((width, mlp), ("width", "mlp"), width**-0.5, name + "up_proj.weight")
        self.down, self.down_lora = matrix((mlp, width), ("mlp", "width"), _residual(config, mlp), name + "down_proj.weight")

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        gate, up = adapted(x, self.gate.get_value(), self.gate_lora), adapted(x, self.up.get_value(), self.up_lora)
        return adapted(jax.nn.silu(gate) * up, self.down.get_value(), self.down_lora)


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
        if config.vocabulary_size is None:
            raise ValueError("model.vocabulary_size is not known yet; take it from the vocabulary before building")
        self.embedding, self.new_embedding = _table(config, rngs, "model.embed_tokens.weight")
        self.blocks = Block(config, rngs)
        self.final_norm = parameters.parameter(_published(config, (config.width,), ("norm",), None, "model.norm.weight"), rngs)
        if not config.tied:
            self.output, self.new_output = _table(config, rngs, "lm_head.weight")

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
        parts = [table.astype(hidden.dtype) for table in (self.frozen_table, self.table) if table is not None]
        scores = [jnp.einsum("...d,vd->...v", hidden, part, preferred_element_type=jnp.float32) for part in parts]
        return jnp.concatenate(scores, axis=-1)

    @property
    def table(self) -> Float[Array, "_ D"]:
        """Rows of the output layer that are trained, in the master weights' type: all, but under LoRA only the new ones."""
        return self._output_parts()[-1]

    @property
    def frozen_table(self) -> Float[Array, "_ D"] | None:
        """Rows of the output layer before those of `table`; None where all are trained."""
        return self._output_parts()[0] if self.config.lora.rank else None

    def _output_parts(self) -> list[Float[Array, "_ D"]]:
        parts = (self.embedding, self.new_embedding) if self.config.tied else (self.output, self.new_output)
        return [part.get_value() for part in parts if part is not None]

    def _embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        table, new, dtype = self.embedding.get_value(), self.new_embedding, jnp.dtype(self.config.compute_dtype)
        if new is None:
            rows = jnp.take(table, tokens, axis=0).astype(dtype)
        else:
            rows = look_up(tokens, table, new.get_value(), dtype)
        return constrain(rows, "batch", "length", None)

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


def _published(config: LlamaConfig, shape, axes, stddev, published) -> Declaration:
    """A parameter that published checkpoints have; adapters freeze it."""
    return Declaration(shape, axes, stddev, published, config.param_dtype, trained=not config.lora.rank)


def _declare(config, rngs, shape, axes, stddev, published) -> nnx.Param:
    return parameters.parameter(parameters.stacked(config.layers, _published(config, shape, axes, stddev, published)), rngs)


def _matrix(config, rngs, shape, axes, stddev, published) -> tuple[nnx.Param, Adapter | None]:
    """A matrix of every layer, and its adapter if the config has adapters."""
    weight = _declare(config, rngs, shape, axes, stddev, published)
    return weight, Adapter(config.lora, weight.get_metadata("declaration"), rngs) if config.lora.rank else None


def _table(config: LlamaConfig, rngs, published: str) -> tuple[nnx.Param, nnx.Param | None]:
    """A token table: whole, or under LoRA the frozen rows, and the new ones."""
    lora, axes = config.lora, ("vocabulary", "width")
    old = lora.frozen_rows if lora.rank else config.vocabulary_size
    if old is None:
        raise ValueError("model.lora.frozen_rows is not known yet; take it from the vocabulary before building")
    table = parameters.parameter(_published(config, (old, config.width), axes, 0.02, published), rngs)
    if not lora.rank:
        return table, None
    new = Declaration((config.vocabulary_size - old, config.width), axes, 0.02, published)
    return table, parameters.parameter(new, rngs)


def _residual(config: LlamaConfig, fan_in: int) -> float:
    """Layers that write to the residual stream start smaller, so that its variance does not grow with depth."""
    return (fan_in * 2 * config.layers) ** -0.5


def _heads(x: Float[Array, "B T D"], weight: nnx.Param, adapter: Adapter | None) -> Float[Array, "B T H K"]:
    width, heads, head_dim = weight.shape
    return adapted(x, weight.reshape(width, heads * head_dim), adapter).reshape(*x.shape[:2], heads, head_dim)
