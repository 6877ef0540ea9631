"""LoRA (Hu et al. 2021): each frozen matrix W of the layers gets a low-rank change that is trained, W + scale * A B.

The rows that a token table has beyond the published ones are new to the model and trained fully, in an array of their own;
all else is frozen. The product A B is never formed in training, and the gradient of a frozen matrix never computed.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx, traverse_util
from jaxtyping import Array, Float, Int

from cslm_jax.model.linear import linear
from cslm_jax.model.parameters import Declaration, Params, parameter
from cslm_jax.model.vocabulary_extension import TABLES

SUFFIX = "_lora"
"""The adapter of a parameter stands beside it, under its name with this."""
NEW = "new_"
"""The new rows of a token table stand beside it, under its name with this."""


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters for all matrices of the layers, in place of training everything."""

    rank: int = 0
    """Rank R of the adapters; 0 for none: everything is trained."""
    alpha: float = 32.0
    """What an adapter adds is scaled by alpha / rank."""
    frozen_rows: int | None = None
    """First rows of the token tables, frozen too; None takes the vocabulary's text ids when the run starts. The rows after
    them are trained fully. Without adapters it says nothing."""

    def __post_init__(self):
        if self.rank < 0 or self.alpha <= 0:
            raise ValueError(f"model.lora: rank={self.rank} must be at least 0 and alpha={self.alpha} positive")
        if self.frozen_rows is not None and self.frozen_rows < 1:
            raise ValueError(f"model.lora.frozen_rows={self.frozen_rows} must be at least 1")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


class Adapter(nnx.Module):
    """The change of one matrix, in float32; B begins at zero, so a fresh adapter changes nothing.

    Args:
        weight: declaration of the matrix, stacked over layers; it leads from the model width, or back to it.
    """

    def __init__(self, config: LoraConfig, weight: Declaration, rngs: nnx.Rngs):
        self.scale = config.scale
        (layers, *shape), (_, *axes) = weight.shape, weight.axes
        cut = 1 if axes[0] == "width" else len(axes) - 1
        name = f"base_model.model.{weight.published.removesuffix('.weight')}.lora_"
        a = (layers, *shape[:cut], config.rank), ("layers", *axes[:cut], "rank")
        b = (layers, config.rank, *shape[cut:]), ("layers", "rank", *axes[cut:])
        self.a = parameter(Declaration(*a, stddev=math.prod(shape[:cut]) ** -0.5, published=f"{name}A.weight"), rngs)
        self.b = parameter(Declaration(*b, stddev=0.0, published=f"{name}B.weight"), rngs)

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T O"]:
        rank = self.a.shape[-1]
        return linear(self.scale * linear(x, self.a.reshape(-1, rank)), self.b.reshape(rank, -1))


def adapted(x: Float[Array, "B T I"], weight: Float[Array, "I O"], adapter: Adapter | None) -> Float[Array, "B T O"]:
    """`x @ weight`, changed by the adapter if there is one."""
    y = linear(x, weight)
    return y if adapter is None else y + adapter(x)


def look_up(tokens: Int[Array, "B T"], table: Float[Array, "F D"], new: Float[Array, "N D"], dtype) -> Float[Array, "B T D"]:
    """Rows of a table in two parts; joining them first would copy the table, and make a gradient for all of it."""
    frozen = table.shape[0]
    old_rows = jnp.take(table, jnp.minimum(tokens, frozen - 1), axis=0).astype(dtype)
    new_rows = jnp.take(new, jnp.maximum(tokens - frozen, 0), axis=0).astype(dtype)
    return jnp.where((tokens < frozen)[..., None], old_rows, new_rows)


def change(config: LoraConfig, a: Float[Array, "... R"], b: Float[Array, "R ..."]) -> Float[Array, "..."]:
    """What an adapter adds to the matrix of one layer, in that matrix's own shape; NumPy's arrays or JAX's."""
    rank = len(b)
    return config.scale * (a.reshape(-1, rank) @ b.reshape(rank, -1)).reshape(*a.shape[:-1], *b.shape[1:])


def merged(config: LoraConfig, params: Params) -> Params:
    """Parameters whose matrices include what the adapters add, without adapters; changed matrices are in float32."""
    flat = traverse_util.flatten_dict(params)
    for path in [path for path in flat if (*path[:-1], path[-1] + SUFFIX, "a") in flat]:
        a, b = (flat.pop((*path[:-1], path[-1] + SUFFIX, name)) for name in "ab")
        with jax.default_matmul_precision("highest"):
            flat[path] = flat[path].astype(jnp.float32) + jax.vmap(lambda a, b: change(config, a, b))(a, b)
    return traverse_util.unflatten_dict(flat)


def join_tables(params: Params) -> Params:
    """Token tables in one part, in float32 where there were two."""
    new = {name: params[NEW + name] for name in TABLES if NEW + name in params}
    joined = {name: jnp.concatenate([params[name].astype(jnp.float32), rows]) for name, rows in new.items()}
    return {name: value for name, value in params.items() if not name.startswith(NEW)} | joined


def split_tables(config: LoraConfig, params: Params) -> Params:
    """The inverse of `join_tables`; without adapters there is nothing to split."""
    if not config.rank:
        return params
    whole = {name: params[name] for name in TABLES if name in params}
    old = {name: table[: config.frozen_rows] for name, table in whole.items()}
    return params | old | {NEW + name: table[config.frozen_rows :] for name, table in whole.items()}
