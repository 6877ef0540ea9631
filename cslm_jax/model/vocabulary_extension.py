"""More rows for the token tables, when the vocabulary grows by speech units (paper section 1)."""

from collections.abc import Callable, Iterable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cslm_jax.errors import CslmError
from cslm_jax.model.parameters import Params

TABLES = ("embedding", "output")


def extend_vocabulary(params: Params, size: int) -> Params:
    """Parameters whose tables have `size` rows: old rows bit-identical, new rows the mean of the old ones.

    Raises:
        CslmError: `size` is smaller than the table.
    """
    return params | {name: _extend(params[name], size) for name in TABLES if name in params}


def _extend(table: jnp.ndarray, size: int) -> jnp.ndarray:
    rows = table.shape[0]
    if size < rows:
        raise CslmError(f"the vocabulary has {size} entries, the model to start from {rows}: it can only grow")
    mean = jnp.mean(table.astype(jnp.float32), axis=0, keepdims=True).astype(table.dtype)
    return jnp.concatenate([table, jnp.repeat(mean, size - rows, axis=0)])


def new_rows(
    noise: float,
    seed: int,
    read: Callable[[], Iterable[Float[np.ndarray, "_ D"]]],
    shape: tuple[int, int],
    count: int,
) -> Float[np.ndarray, "count D"]:
    """`count` new rows of a table too large to hold: the mean of the old rows, and noise with their covariance.

    Args:
        noise: factor of the noise; with 1 the new rows are spread like the old ones (Hewitt 2021).
        read: gives the old rows, some at a time, each time it is called.
        shape: of the old table.
    """
    rows, width = shape
    mean = sum(chunk.astype(np.float64).sum(axis=0) for chunk in read()) / rows
    new = np.broadcast_to(mean.astype(np.float32), (count, width))
    if not noise:
        return new
    # A random combination of the centred rows has their covariance, which itself is never computed.
    rng, drawn = np.random.default_rng(seed), np.zeros((count, width), np.float32)
    for chunk in read():
        drawn += rng.standard_normal((count, len(chunk)), np.float32) @ (chunk.astype(np.float32) - mean.astype(np.float32))
    return new + noise * drawn / np.float32(rows**0.5)
