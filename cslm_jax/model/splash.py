"""TPU attention: JAX's splash kernel, which keeps no scores in memory and skips the blocks behind the diagonal."""

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jaxtyping import Array, Float, Int

from cslm_jax.model.axes import partition

BLOCK = 512
"""Largest tile of queries and of keys."""
LANES = 128
"""Tiles are multiples of the vector unit's width, so rows are padded to one."""


def splash(
    query: Float[Array, "B T H K"],
    key: Float[Array, "B T G K"],
    value: Float[Array, "B T G K"],
    segment_ids: Int[Array, "B T"],
    interpret: bool = False,
) -> Float[Array, "B T H K"]:
    """`attention.reference` on TPU; each device computes its own rows and heads.

    Args:
        interpret: run the kernel's own program on any backend, slowly; for tests.
    """
    local = functools.partial(_local, interpret=interpret)
    if jax.sharding.get_abstract_mesh().empty:
        return local(query, key, value, segment_ids)
    heads, kv_heads = (partition(("batch", None, axis, None)) for axis in ("heads", "kv_heads"))
    specs = heads, kv_heads, kv_heads, partition(("batch", None))
    # XLA cannot split a kernel by itself.
    return jax.shard_map(local, in_specs=specs, out_specs=heads, check_vma=False)(query, key, value, segment_ids)


def _local(query, key, value, segment_ids, interpret: bool):
    length, head_dim = query.shape[1], query.shape[3]
    kernel = _kernel(query.shape[2], -(-length // LANES) * LANES, interpret)
    q, k, v = (_heads_first(x, length) for x in (query * head_dim**-0.5, key, value))
    segments = jnp.pad(segment_ids, ((0, 0), (0, -length % LANES)))
    mixed = jax.vmap(lambda q, k, v, ids: kernel(q, k, v, kernels.SegmentIds(ids, ids)))(q, k, v, segments)
    return jnp.transpose(mixed, (0, 2, 1, 3))[:, :length]


def _heads_first(x: Float[Array, "B T H K"], length: int) -> Float[Array, "B H S K"]:
    return jnp.transpose(jnp.pad(x, ((0, 0), (0, -length % LANES), (0, 0), (0, 0))), (0, 2, 1, 3))


def _kernel(heads: int, length: int, interpret: bool) -> kernels.SplashAttentionKernel:
    block = next(size for size in range(min(BLOCK, length), 0, -LANES) if length % size == 0)
    names = ("block_q", "block_kv", "block_q_dkv", "block_kv_dkv", "block_q_dq", "block_kv_dq")
    sizes = kernels.BlockSizes(**dict.fromkeys(names, block))
    mask = masks.MultiHeadMask([masks.CausalMask((length, length))] * heads)
    return kernels.make_splash_mha(mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret)
