"""States -> units: the nearest entry of a codebook that learns, or finite scalar quantisation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.speech.s3_config import S3Config


class Codebook(nnx.Variable):
    """The quantiser's entries and their running statistics: learnt, but not by gradients."""


class CodebookQuantizer(nnx.Module):
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


class FiniteScalarQuantizer(nnx.Module):
    """A few channels, each rounded to -1, 0 or 1: a unit is read as a number to the base 3, lowest digit first.

    Source: Mentzer et al. 2023 (arXiv 2309.15505), as in version 2 of the tokenizer. For inference only: how the
    recogniser read these units in training is not published.
    """

    def __init__(self, config: S3Config, *, rngs: nnx.Rngs):
        self.project = nnx.Linear(config.width, config.fsq_channels, rngs=rngs)

    def codes(self, x: Float[Array, "B U D"]) -> Int[Array, "B U"]:
        """Unit of every state."""
        digits = jnp.round(jnp.tanh(self.project(x.astype(jnp.float32))) * 0.999).astype(jnp.int32) + 1
        return digits @ 3 ** jnp.arange(digits.shape[-1])


def _unit_length(x: Float[Array, "... D"]) -> Float[Array, "... D"]:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _random_rows(key: Array, weights: Float[Array, "N"], count: int) -> Int[Array, "count"]:
    """Indices of `count` rows drawn evenly from those of weight 1."""
    cumulative = jnp.cumsum(weights)
    drawn = jax.random.uniform(key, (count,)) * cumulative[-1]
    return jnp.searchsorted(cumulative, drawn, side="right").clip(0, len(weights) - 1)
