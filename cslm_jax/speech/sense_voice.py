"""SenseVoice-Small: a non-autoregressive SAN-M encoder with a CTC head; 80 mel bins -> label log-probabilities.

Reference: FunAudioLLM/SenseVoice (An et al. 2024, arXiv 2407.04051); SAN-M is self-attention beside a convolutional
memory (Gao et al. 2020, arXiv 2006.01713). Modules are named as the published tensors are; those are read in
`cslm_jax.speech.sense_voice_weights`.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.speech.s3 import Memory, positions

TAGS = 4
"""Frames before those of the sound: language, event, emotion, text form."""
LANGUAGES = {"zh": 3, "yue": 7, "ja": 11}
"""Row of the query table that asks for a language; those whose words are single characters."""
_EVENT, _EMOTION, _AS_SPOKEN = 1, 2, 15
"""Rows of the other queries; the last one asks for a text without punctuation whose numbers are spelled out."""


@dataclasses.dataclass(frozen=True)
class SenseVoiceConfig:
    """Sizes of the network; the defaults are those of the published SenseVoice-Small."""

    mels: int = 80
    """Mel bins of a filterbank frame (10 ms)."""
    stacked: int = 7
    """Filterbank frames that make one input frame; odd, so that one of them is the middle."""
    stride: int = 6
    """Filterbank frames from one input frame to the next."""
    width: int = 512
    """Model width."""
    heads: int = 4
    """Attention heads."""
    mlp_width: int = 2048
    """Width of the feed-forward layers."""
    blocks: int = 50
    """Blocks before the first norm; the first of them leads from the input to the model width."""
    tp_blocks: int = 20
    """Blocks between the two norms."""
    memory: int = 11
    """Frames that the convolutional memory beside the attention spans."""
    labels: int = 25_055
    """Pieces of the SentencePiece model; the first is the blank."""
    queries: int = 16
    """Rows of the query table."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"sense voice: {field.name} must be at least 1, got {getattr(self, field.name)}")
        if self.blocks < 2:
            raise ValueError(f"sense voice: blocks must be at least 2, got {self.blocks}")
        if self.stacked % 2 == 0:
            raise ValueError(f"sense voice: stacked must be odd, got {self.stacked}")
        if self.width % self.heads:
            raise ValueError(f"sense voice: width must be a multiple of heads, got {self.width} and {self.heads}")

    @property
    def inputs(self) -> int:
        """Width of an input frame."""
        return self.mels * self.stacked


class Attention(nnx.Module):
    """Self-attention plus the memory of the values (SAN-M)."""

    def __init__(self, config: SenseVoiceConfig, inputs: int, *, rngs: nnx.Rngs):
        self.heads = config.heads
        self.linear_q_k_v = nnx.Linear(inputs, 3 * config.width, rngs=rngs)
        self.fsmn_block = Memory(config.width, config.memory, rngs=rngs)
        self.linear_out = nnx.Linear(config.width, config.width, rngs=rngs)

    def __call__(self, x: Float[Array, "B T I"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        q, k, v = jnp.split(self.linear_q_k_v(x), 3, axis=-1)
        split = lambda y: y.reshape(*y.shape[:2], self.heads, -1)
        mixed = jax.nn.dot_product_attention(split(q), split(k), split(v), mask=present[:, None, None])
        return self.linear_out(mixed.reshape(v.shape)) + self.fsmn_block(v * present[:, :, None])


class FeedForward(nnx.Module):
    """Two linear layers with a ReLU between."""

    def __init__(self, config: SenseVoiceConfig, *, rngs: nnx.Rngs):
        self.w_1 = nnx.Linear(config.width, config.mlp_width, rngs=rngs)
        self.w_2 = nnx.Linear(config.mlp_width, config.width, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return self.w_2(jax.nn.relu(self.w_1(x)))


class Block(nnx.Module):
    """Pre-LayerNorm block; where it changes the width there is nothing to add the attention to."""

    def __init__(self, config: SenseVoiceConfig, inputs: int, *, rngs: nnx.Rngs):
        self.norm1 = _norm(inputs, rngs)
        self.self_attn = Attention(config, inputs, rngs=rngs)
        self.norm2 = _norm(config.width, rngs)
        self.feed_forward = FeedForward(config, rngs=rngs)

    def __call__(self, x: Float[Array, "B T I"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        attended = self.self_attn(self.norm1(x), present)
        x = x + attended if x.shape == attended.shape else attended
        return x + self.feed_forward(self.norm2(x))


class Encoder(nnx.Module):
    """The blocks. Blocks of one shape lie above each other in one module and are scanned: seventy compile like one."""

    def __init__(self, config: SenseVoiceConfig, *, rngs: nnx.Rngs):
        self.encoders0 = Block(config, config.inputs, rngs=rngs)
        self.encoders = _stack(config, config.blocks - 1, rngs)
        self.after_norm = _norm(config.width, rngs)
        self.tp_encoders = _stack(config, config.tp_blocks, rngs)
        self.tp_norm = _norm(config.width, rngs)

    def __call__(self, x: Float[Array, "B T I"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        x = self.encoders0(x, present)
        x = self.after_norm(_through(self.encoders, x, present))
        return self.tp_norm(_through(self.tp_encoders, x, present))


class SenseVoice(nnx.Module):
    """Normalised, stacked filterbank frames -> label log-probabilities."""

    def __init__(self, config: SenseVoiceConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embed = nnx.Embed(config.queries, config.inputs, rngs=rngs)
        self.encoder = Encoder(config, rngs=rngs)
        self.ctc_lo = nnx.Linear(config.width, config.labels, rngs=rngs)

    def __call__(self, features: Float[Array, "B T I"], lengths: Int[Array, "B"], language: str = "zh") -> Float[Array, "B T V"]:
        """Log-probabilities of the frames of the sound, those of the tags cut off; what stands behind `lengths` means nothing."""
        queries = self.embed(jnp.array([LANGUAGES[language], _EVENT, _EMOTION, _AS_SPOKEN]))
        queries = jnp.broadcast_to(queries, (len(features), *queries.shape))
        x = jnp.concatenate([queries, features], axis=1) * np.float32(np.sqrt(self.config.width))
        x = x + positions(x.shape[1] + 1, self.config.inputs)[1:]  # the reference counts from 1
        present = jnp.arange(x.shape[1]) < TAGS + lengths[:, None]
        return jax.nn.log_softmax(self.ctc_lo(self.encoder(x, present)[:, TAGS:]))


def _norm(width: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Without the fast variance: a difference of two large numbers, it made the log-probabilities ten times less exact."""
    return nnx.LayerNorm(width, epsilon=1e-5, use_fast_variance=False, rngs=rngs)


def _stack(config: SenseVoiceConfig, count: int, rngs: nnx.Rngs) -> Block:
    """A block whose every weight has a first axis of `count` layers."""
    return nnx.split_rngs(splits=count)(nnx.vmap(lambda rngs: Block(config, config.width, rngs=rngs)))(rngs)


def _through(stack: Block, x: Float[Array, "B T D"], present: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
    graph, state = nnx.split(stack)
    return jax.lax.scan(lambda x, layer: (nnx.merge(graph, layer)(x, present), None), x, state)[0]
