"""Every kernel agrees with the reference, gradients included, and none looks across segments or ahead."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.model import attention
from cslm_jax.model.cudnn import cudnn
from cslm_jax.model.splash import splash

# The TPU kernel runs here as an interpreted program; cuDNN's call is computed by XLA, which shows that its arguments are right.
KERNELS = attention.KERNELS | {
    "splash": functools.partial(splash, interpret=True),
    "cudnn": functools.partial(cudnn, implementation="xla"),
}


def inputs(length):
    keys = jax.random.split(jax.random.key(0), 3)
    query = jax.random.normal(keys[0], (3, length, 4, 8))
    key, value = (jax.random.normal(k, (3, length, 2, 8)) for k in keys[1:])
    # One row of three segments with padding behind, one of a single segment, one of padding only.
    packed = np.repeat([1, 2, 3, 0], [length // 3, length // 4, length // 4, length])[:length]
    return query, key, value, jnp.asarray(np.stack([packed, np.ones_like(packed), np.zeros_like(packed)]), jnp.int32)


def numpy_attention(query, key, value, segments):
    """Query by query, key by key: nothing shared with the code under test."""
    query, key, value, segments = map(np.asarray, (query, key, value, segments))
    out = np.zeros_like(query)
    for b, t, h in np.ndindex(query.shape[:3]):
        seen = [s for s in range(t + 1) if segments[b, s] == segments[b, t]]
        scores = np.array([query[b, t, h] @ key[b, s, h // 2] for s in seen]) / np.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max())
        out[b, t, h] = weights @ value[b, seen, h // 2] / weights.sum()
    return out


def test_reference_is_attention():
    arguments = inputs(13)
    np.testing.assert_allclose(attention.reference(*arguments), numpy_attention(*arguments), atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(KERNELS) - {"reference"}))
@pytest.mark.parametrize("length", [3, 37])
def test_kernel_equals_reference(name, length):
    query, key, value, segments = inputs(length)
    real = (segments != 0)[:, :, None, None]  # what padding gives means nothing, but NaN times 0 would still be seen

    def run(kernel):
        def mixed(*qkv):
            out = kernel(*qkv, segments) * real
            return jnp.square(out).sum(), out

        return jax.jit(jax.value_and_grad(mixed, argnums=(0, 1, 2), has_aux=True))(query, key, value)

    (_, out), gradients = run(KERNELS[name])
    (_, expected), expected_gradients = run(attention.reference)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), gradients, expected_gradients)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_rows_may_be_split_over_devices(name):
    """Positions and heads, as context and tensor parallelism do."""
    query, key, value, segments = inputs(48)
    real = (segments != 0)[:, :, None, None]

    def run(kernel):
        return jax.jit(jax.grad(lambda *qkv: jnp.square(kernel(*qkv, segments) * real).sum(), (0, 1, 2)))(query, key, value)

    axes = ("data", "fsdp", "context", "tensor")
    with jax.set_mesh(jax.make_mesh((1, 1, 2, 2), axes, axis_types=(jax.sharding.AxisType.Auto,) * 4, devices=jax.devices()[:4])):
        gradients = run(KERNELS[name])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), gradients, run(attention.reference))


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_nothing_leaks_between_segments_or_from_the_future(name):
    query, key, value, segments = inputs(48)
    kernel = jax.jit(KERNELS[name])
    changed = kernel(query, key.at[0, 20].add(9.0), value.at[0, 20].add(9.0), segments)
    differs = np.abs(changed - kernel(query, key, value, segments)).max(axis=(2, 3)) > 1e-6
    mine = np.asarray(segments[0]) == segments[0, 20]
    np.testing.assert_array_equal(differs[0], mine & (np.arange(48) >= 20))
    assert not differs[1:].any()


def device(platform, kind="", capability=None):
    known = {} if capability is None else {"compute_capability": capability}  # only GPUs have one
    return types.SimpleNamespace(platform=platform, device_kind=kind, **known)


A100, T4 = device("gpu", "NVIDIA A100-SXM4-80GB", "8.0"), device("gpu", "Tesla T4", "7.5")
BLACKWELL, MI300 = device("gpu", "NVIDIA RTX PRO 6000", "12.0"), device("gpu", "AMD Instinct MI300X", "gfx942")


@pytest.mark.parametrize(
    "on, dtype, head_dim, kernel, problem",
    [
        (device("cpu"), "float32", 48, "blocked", None),
        (device("tpu"), "float32", 128, "splash", None),
        (A100, "bfloat16", 64, "cudnn", None),
        (BLACKWELL, "bfloat16", 128, "cudnn", None),
        (A100, "float32", 64, "blocked", "compute_dtype=bfloat16"),
        (A100, "bfloat16", 256, "blocked", "head_dim"),
        (T4, "bfloat16", 64, "blocked", "compute capability 8.0 or later, not Tesla T4"),
        (MI300, "bfloat16", 64, "blocked", "not AMD Instinct MI300X"),
        (device("metal"), "bfloat16", 64, "blocked", "no fused attention kernel for metal"),
    ],
)
def test_auto_takes_the_devices_kernel_and_says_once_why_not(monkeypatch, caplog, on, dtype, head_dim, kernel, problem):
    monkeypatch.setattr(jax, "local_devices", lambda: [on])
    attention._log_choice.cache_clear()
    with caplog.at_level("INFO", "cslm_jax"):
        assert [attention.select("auto", dtype, head_dim) for _ in range(2)] == [attention.KERNELS[kernel]] * 2
    [record] = caplog.records
    assert record.levelname == ("INFO" if problem is None else "WARNING")
    assert problem is None or problem in record.getMessage()
    attention._log_choice.cache_clear()


def test_cached_attention_sees_slots_up_to_its_position():
    query, key, value, _ = inputs(16)
    positions = jnp.array([[3], [15], [0]])
    out = attention.over_cache(query[:, :1], key, value, positions)
    ones = jnp.ones((1, 4), int)
    alone = attention.reference(jnp.repeat(query[:1, :1], 4, 1), key[:1, :4], value[:1, :4], ones)
    np.testing.assert_allclose(out[0, 0], alone[0, 3], atol=1e-5)
