"""Key/value cache of generation: slot s of a row holds position s of that row."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Cache:
    """Keys and values of every layer; a value, never changed in place."""

    keys: Float[Array, "L B S G K"]
    values: Float[Array, "L B S G K"]

    @property
    def length(self) -> int:
        """Positions that fit, in tokens."""
        return self.keys.shape[2]

    def write(
        self,
        layer: Int[Array, ""],
        positions: Int[Array, "B T"],
        key: Float[Array, "B T G K"],
        value: Float[Array, "B T G K"],
    ) -> "Cache":
        """The cache with these positions filled; position -1, and positions beyond the end, are dropped."""
        rows = jnp.arange(positions.shape[0])[:, None]
        slots = jnp.where(positions < 0, self.length, positions)
        return Cache(
            self.keys.at[layer, rows, slots].set(key.astype(self.keys.dtype), mode="drop"),
            self.values.at[layer, rows, slots].set(value.astype(self.values.dtype), mode="drop"),
        )


jax.tree_util.register_dataclass(Cache)


def init_cache(config, batch: int, length: int) -> Cache:
    """An empty cache for a batch of rows.

    Args:
        config: a LlamaConfig.
        batch: rows.
        length: tokens a row can hold, prompt and answer together.
    """
    shape = (config.layers, batch, length, config.kv_heads, config.head_dim)
    return Cache(jnp.zeros(shape, config.compute_dtype), jnp.zeros(shape, config.compute_dtype))
