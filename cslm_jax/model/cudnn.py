"""NVIDIA GPU attention: cuDNN's flash attention through `jax.nn`, which keeps no scores in memory and skips the keys ahead.

Segments go in as a mask, which cuDNN adds to its tiles of scores: 2 T^2 bytes per row, once for all heads and layers. Tiles
between two segments are computed all the same. Attention is 3 to 7% of a step's arithmetic (1B and 8B, T up to 4,096), so
skipping them would save less than that; cuDNN's packed layout, which does, needs Hopper and a bound on a row's segments.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.model.axes import partition, ways

TILE = 64
"""Rows, or what a device has of them, are padded to a multiple of cuDNN's smallest tile."""
CAPABILITY = 8.0
"""Oldest compute capability that cuDNN has the kernel for: Ampere."""
LARGEST_HEAD = 128
"""Largest size of a head that it takes on every such GPU."""


def cudnn(
    query: Float[Array, "B T H K"],
    key: Float[Array, "B T G K"],
    value: Float[Array, "B T G K"],
    segment_ids: Int[Array, "B T"],
    implementation: str = "cudnn",
) -> Float[Array, "B T H K"]:
    """`attention.reference` on an NVIDIA GPU; XLA knows how to split it over rows and heads.

    Args:
        implementation: "xla" computes the same call on any backend, with all scores in memory; for tests.

    Raises:
        NotImplementedError: the arrays are not in half precision, or the head is too large.
    """
    length = query.shape[1]
    more = -length % (TILE * ways("length"))
    query, key, value = (jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0))) for x in (query, key, value))
    ids = jnp.pad(segment_ids, ((0, 0), (0, more)))
    same = ids[:, None, :, None] == ids[:, None, None, :]
    if ways("length") > 1:
        mixed = _split_rows(query, key, value, same, implementation)
    else:
        mixed = jax.nn.dot_product_attention(query, key, value, mask=same, is_causal=True, implementation=implementation)
    return mixed[:, :length]


def _split_rows(query, key, value, same: Bool[Array, "B 1 T T"], implementation: str):
    """Every device takes its own queries (mesh.context) and gathers the keys. XLA cannot split cuDNN along a row, and cuDNN
    does not know where in the row the queries begin, so causality is in the mask and no key is skipped."""
    causal = jnp.tril(jnp.ones(same.shape[-2:], bool))
    attend = functools.partial(jax.nn.dot_product_attention, implementation=implementation)
    queries, keys = (partition(("batch", length, heads, None)) for length, heads in (("length", "heads"), (None, "kv_heads")))
    specs = queries, keys, keys, partition(("batch", None, "length", None))
    local = jax.shard_map(lambda q, k, v, mask: attend(q, k, v, mask=mask), in_specs=specs, out_specs=queries, check_vma=False)
    return local(query, key, value, same & causal)


def obstacle(device: jax.Device, compute_dtype: str, head_dim: int) -> str | None:
    """Why this kernel cannot run there, or None."""
    try:
        capability = float(getattr(device, "compute_capability", "none"))
    except ValueError:  # not NVIDIA
        capability = 0.0
    if capability < CAPABILITY:
        return f"cuDNN's attention needs an NVIDIA GPU of compute capability {CAPABILITY} or later, not {device.device_kind}"
    if compute_dtype != "bfloat16":
        return f"cuDNN's attention needs model.compute_dtype=bfloat16, not {compute_dtype}"
    if head_dim % 8 or head_dim > LARGEST_HEAD:
        return f"cuDNN's attention needs a model.head_dim that is a multiple of 8 up to {LARGEST_HEAD}, not {head_dim}"
    return None
