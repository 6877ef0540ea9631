"""cuDNN's attention as XLA compiles it for GPUs, which needs JAX's CUDA plugin but no GPU, and as a GPU computes it.

On a machine with one: JAX_PLATFORMS=cuda python -m pytest tests/model/test_cudnn.py
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import NamedSharding

from cslm_jax.model import attention
from cslm_jax.model.axes import partition
from cslm_jax.model.cudnn import cudnn
from cslm_jax.train import sharding
from cslm_jax.train.topologies import gpu_target

PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
A100, H100 = gpu_target("a100"), gpu_target("h100")
SHAPES = {"1B": (2048, 32, 8, 64), "8B": (4096, 32, 8, 128)}
"""Length, heads, kv_heads and head_dim of the models that GPUs train."""

without_gpu = pytest.mark.skipif(
    not any(map(importlib.util.find_spec, PLUGINS)), reason="needs JAX's CUDA plugin: pip install 'cslm_jax[cuda]'"
)
on_gpu = pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU, and JAX_PLATFORMS=cuda")


def loss(kernel, *arguments):
    return jnp.square(kernel(*arguments).astype(jnp.float32)).mean()


def compiled(target, devices, shape, mesh_shape):
    """Forward and backward pass of 4 rows, split as a training step splits them."""
    length, heads, kv_heads, head_dim = shape
    topology = topologies.get_topology_desc(platform="cuda", target_config=target, topology=f"1x1x{devices}")
    mesh = jax.sharding.Mesh(np.reshape(topology.devices, mesh_shape), sharding.AXES)

    def array(*shape, axes, dtype=jnp.bfloat16):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, partition(axes)))

    query = array(4, length, heads, head_dim, axes=("batch", "length", "heads", None))
    key = array(4, length, kv_heads, head_dim, axes=("batch", "length", "kv_heads", None))
    segments = array(4, length, axes=("batch", "length"), dtype=jnp.int32)
    gradient = jax.grad(functools.partial(loss, cudnn), argnums=(0, 1, 2))
    with jax.set_mesh(mesh):
        return jax.jit(gradient).lower(query, key, key, segments).compile()


@without_gpu
@pytest.mark.parametrize("target", [A100, H100], ids=["A100", "H100"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_compiles_without_scores_in_memory(target, shape):
    program = compiled(target, 1, shape, (1, 1, 1, 1))
    assert '"__cudnn$fmhaScaleBiasSoftmax"' in program.as_text()
    assert '"__cudnn$fmhaScaleBiasSoftmaxBackward"' in program.as_text()
    length, heads = shape[:2]
    assert program.memory_analysis().temp_size_in_bytes < 4 * heads * length**2 * 2 / 4, "a quarter of the scores"


@without_gpu
def test_each_gpu_computes_its_own_rows_and_heads():
    text = compiled(H100, 4, SHAPES["1B"], (1, 2, 1, 2)).as_text()
    assert "(bf16[2,16,2048,64]" in next(line for line in text.splitlines() if '"__cudnn$fmhaScaleBiasSoftmax"' in line)
    assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))


@without_gpu
def test_each_gpu_computes_its_own_queries():
    text = compiled(H100, 4, SHAPES["1B"], (1, 1, 2, 2)).as_text()
    assert "(bf16[4,16,1024,64]" in next(line for line in text.splitlines() if '"__cudnn$fmhaScaleBiasSoftmax"' in line)


@on_gpu
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gpu_agrees_with_the_reference_in_float32(shape):
    length, heads, kv_heads, head_dim = shape
    keys = jax.random.split(jax.random.key(0), 4)
    query = jax.random.normal(keys[0], (2, length, heads, head_dim), jnp.bfloat16)
    key, value = (jax.random.normal(k, (2, length, kv_heads, head_dim), jnp.bfloat16) for k in keys[1:3])
    weights = jax.random.normal(keys[3], query.shape)
    packed = np.repeat([1, 2, 3, 0], [length // 3, length // 4, length // 5, length])[:length]
    segments = jnp.asarray(np.stack([packed, np.ones_like(packed)]), jnp.int32)
    weights = weights * (segments != 0)[:, :, None, None]

    def run(kernel, *qkv):
        def mixed(*qkv):
            out = kernel(*qkv, segments).astype(jnp.float32)
            return (out * weights).sum(), out * (weights != 0)

        return jax.jit(jax.grad(mixed, argnums=(0, 1, 2), has_aux=True))(*qkv)

    got = run(attention.KERNELS["cudnn"], query, key, value)
    with jax.default_matmul_precision("highest"):
        expected = run(attention.reference, *(x.astype(jnp.float32) for x in (query, key, value)))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
        error = np.linalg.norm(np.asarray(a, np.float32) - b) / np.linalg.norm(b)
        assert error < 0.02, "bfloat16 keeps 8 bits"


@on_gpu
def test_on_a_gpu_nothing_leaks_between_segments_or_from_the_future():
    length, heads, kv_heads, head_dim = SHAPES["1B"]
    query = jax.random.normal(jax.random.key(0), (1, length, heads, head_dim), jnp.bfloat16)
    key = query[:, :, :kv_heads]
    segments = jnp.asarray(np.repeat([1, 2, 3], [900, 500, 648])[None], jnp.int32)
    kernel = jax.jit(cudnn)
    changed = kernel(query, key.at[0, 1000].add(9.0), key.at[0, 1000].add(9.0), segments)
    differs = np.abs(changed - kernel(query, key, key, segments)).max(axis=(0, 2, 3)) > 0
    assert not differs[:1000].any() and not differs[1400:].any()
    assert differs[1000:1400].all()
