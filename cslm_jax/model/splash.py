"""TPU attention: JAX's splash kernel, which keeps no scores in memory and skips the blocks behind the diagonal."""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int

from cslm_jax.model.axes import partition, ways

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
    """`attention.reference` on TPU; each device computes its own rows, heads and queries.

    Where rows are split (mesh.context), every device gathers the keys and values of its rows. The devices with the later
    queries then have more to do, up to twice the mean where a segment fills the row.

    Args:
        interpret: run the kernel's own program on any backend, slowly; for tests.
    """
    parts, length, head_dim = ways("length"), query.shape[1], query.shape[3]
    padded = -(-length // (LANES * parts)) * LANES * parts
    kernel = _kernel(query.shape[2] // ways("heads"), padded, parts, interpret)
    heads_first = (_heads_first(x, padded) for x in (query * head_dim**-0.5, key, value))
    segments = jnp.pad(segment_ids, ((0, 0), (0, padded - length)))
    mixed = _on_mesh(kernel)(kernel, *heads_first, segments, segments)
    return jnp.transpose(mixed, (0, 2, 1, 3))[:, :length]


def _attend(kernel, query, key, value, query_segments, key_segments):
    def row(q, k, v, of_queries, of_keys):
        return kernel(q, k, v, kernels.SegmentIds(of_queries, of_keys))

    return jax.vmap(row)(query, key, value, query_segments, key_segments)


def _on_mesh(kernel: kernels.SplashAttentionKernel):
    """The kernel a device at a time, for XLA cannot split it by itself."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return _attend
    queries, keys = (partition(("batch", heads, length, None)) for heads, length in (("heads", "length"), ("kv_heads", None)))
    mask = kernel.manual_sharding_spec(NamedSharding(mesh, partition((None, "length"))))
    specs = mask, queries, keys, keys, partition(("batch", "length")), partition(("batch", None))
    return jax.shard_map(_attend, in_specs=specs, out_specs=queries, check_vma=False)


def _heads_first(x: Float[Array, "B T H K"], length: int) -> Float[Array, "B H S K"]:
    return jnp.transpose(jnp.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0), (0, 0))), (0, 2, 1, 3))


def _kernel(heads: int, length: int, parts: int, interpret: bool) -> kernels.SplashAttentionKernel:
    """The kernel of one device's heads; its mask is split into parts along the queries."""
    own = length // parts
    block = next(size for size in range(min(BLOCK, own), 0, -LANES) if own % size == 0)
    names = ("block_q", "block_kv", "block_q_dkv", "block_kv_dkv", "block_q_dq", "block_kv_dq")
    sizes = kernels.BlockSizes(**dict.fromkeys(names, block))
    mask = masks.MultiHeadMask([masks.CausalMask((length, length), shard_count=parts)] * heads)
    return kernels.make_splash_mha(
        mask, block_sizes=sizes, head_shards=1, q_seq_shards=parts, residual_checkpoint_name="attention", interpret=interpret
    )
