"""More rows for the token tables, when the vocabulary grows by speech units (paper section 1)."""

import jax.numpy as jnp

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
