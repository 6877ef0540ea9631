"""Causal attention that stays inside packed segments, and attention over a KV cache.

`KERNELS` is the one place where implementations meet: each takes the same arguments and must agree with
`reference`, gradients included, on packed rows.
"""

import functools
import logging
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.model.axes import ways
from cslm_jax.model.cudnn import cudnn, obstacle
from cslm_jax.model.splash import splash

logger = logging.getLogger(__name__)

BLOCKS = 4
"""Query blocks in `blocked`: with four, 10/16 of the scores are computed."""


class Kernel(Protocol):
    """Causal self-attention of packed rows; H is a multiple of G (grouped queries)."""

    def __call__(
        self,
        query: Float[Array, "B T H K"],
        key: Float[Array, "B T G K"],
        value: Float[Array, "B T G K"],
        segment_ids: Int[Array, "B T"],
    ) -> Float[Array, "B T H K"]: ...


def masked(
    query: Float[Array, "B T H K"],
    key: Float[Array, "B S G K"],
    value: Float[Array, "B S G K"],
    visible: Bool[Array, "B T S"],
) -> Float[Array, "B T H K"]:
    """Plain attention over the keys that a mask leaves visible; softmax in float32.

    A query that sees no key gets the mean of the values, never NaN.
    """
    batch, length, heads, head_dim = query.shape
    grouped = query.reshape(batch, length, key.shape[2], -1, head_dim) * head_dim**-0.5
    scores = jnp.einsum("btgnk,bsgk->bgnts", grouped, key, preferred_element_type=jnp.float32)
    scores = jnp.where(visible[:, None, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bgnts,bsgk->btgnk", weights, value).reshape(batch, length, heads, head_dim)


def reference(query, key, value, segment_ids):
    """All scores at once: the reading that every other kernel is tested against."""
    return masked(query, key, value, _visible(segment_ids, 0, segment_ids.shape[1]))


def blocked(query, key, value, segment_ids):
    """Query blocks that skip the keys after them: half the work of `reference`, laid out for a CPU's matrix products.

    Where rows are split over devices (mesh.context) it is `reference`: the blocks would lie across them.
    """
    if ways("length") > 1:
        return reference(query, key, value, segment_ids)
    batch, length, heads, head_dim = query.shape
    groups = key.shape[2]
    query = _by_group(query * head_dim**-0.5, groups)
    key, value = jnp.transpose(key, (0, 2, 3, 1)), jnp.transpose(value, (0, 2, 1, 3))
    size = -(-length // BLOCKS)
    outputs = []
    for start in range(0, length, size):
        end = min(start + size, length)
        hidden = jnp.where(_visible(segment_ids, start, end), 0.0, jnp.finfo(jnp.float32).min)
        outputs.append(_block(query[:, :, :, start:end], key[..., :end], value[:, :, :end], hidden[:, None, None]))
    merged = jnp.concatenate(outputs, axis=3)
    return jnp.transpose(merged, (0, 3, 1, 2, 4)).reshape(batch, length, heads, head_dim)


def _block(
    query: Float[Array, "B G N t K"],
    key: Float[Array, "B G K S"],
    value: Float[Array, "B G S K"],
    bias: Float[Array, "B 1 1 t S"],
) -> Float[Array, "B G N t K"]:
    """One block of queries; the division by the sum waits until the values are mixed, where it is cheap."""
    shape = query.shape
    rows = query.reshape(*shape[:2], -1, shape[-1])
    scores = jnp.matmul(rows, key, preferred_element_type=jnp.float32).reshape(*shape[:4], -1) + bias
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    mixed = jnp.matmul(weights.astype(value.dtype).reshape(*rows.shape[:3], -1), value, preferred_element_type=jnp.float32)
    return (mixed.reshape(shape) / weights.sum(axis=-1, keepdims=True)).astype(value.dtype)


def _by_group(query: Float[Array, "B T H K"], groups: int) -> Float[Array, "B G N T K"]:
    batch, length, heads, head_dim = query.shape
    return jnp.transpose(query.reshape(batch, length, groups, heads // groups, head_dim), (0, 2, 3, 1, 4))


KERNELS: dict[str, Kernel] = {"reference": reference, "blocked": blocked, "splash": splash, "cudnn": cudnn}
PLATFORMS = {"cpu": "blocked", "tpu": "splash", "gpu": "cudnn"}
"""The kernel that "auto" takes; `blocked` elsewhere too, where it works but is not fused."""


def check(name: str) -> None:
    """ValueError if there is no such kernel."""
    if name != "auto" and name not in KERNELS:
        raise ValueError(f"model.attention={name!r}: choose auto, {', '.join(KERNELS)}")


def select(name: str, compute_dtype: str, head_dim: int) -> Kernel:
    """The kernel of that name; "auto" takes the one for this machine's devices. Logs its choice once.

    Where there is none, it takes `blocked`: half of the work of `reference`, but it keeps all scores in memory, which a
    fused kernel would not; "auto" says so in a warning.
    """
    check(name)
    problem = None
    if name == "auto":
        name, problem = for_device(jax.local_devices()[0], compute_dtype, head_dim)
    _log_choice(name, jax.default_backend(), problem)
    return KERNELS[name]


def for_device(device: jax.Device, compute_dtype: str, head_dim: int) -> tuple[str, str | None]:
    """Name of the kernel that "auto" takes on a device, and why it is not a fused one, where that was to be expected."""
    chosen, problem = for_platform(device.platform), None
    if device.platform not in PLATFORMS:
        problem = f"there is no fused attention kernel for {device.platform} yet"
    elif chosen == "cudnn":
        problem = obstacle(device, compute_dtype, head_dim)
    return (chosen if problem is None else "blocked"), problem


def for_platform(platform: str) -> str:
    """Name of the kernel that "auto" takes on cpu, gpu or tpu, where nothing stands in its way."""
    return PLATFORMS.get(platform, "blocked")


def over_cache(
    query: Float[Array, "B T H K"],
    key: Float[Array, "B S G K"],
    value: Float[Array, "B S G K"],
    positions: Int[Array, "B T"],
) -> Float[Array, "B T H K"]:
    """Attention over a cache in which slot s holds position s: a query sees the slots up to its own position."""
    return masked(query, key, value, jnp.arange(key.shape[1]) <= positions[:, :, None])


def _visible(segment_ids: Int[Array, "B T"], start: int, end: int) -> Bool[Array, "B t s"]:
    """Keys [0, end) seen by queries [start, end): same segment, not later."""
    same = segment_ids[:, start:end, None] == segment_ids[:, None, :end]
    return same & (jnp.arange(start, end)[:, None] >= jnp.arange(end))


@functools.cache
def _log_choice(name: str, backend: str, problem: str | None) -> None:
    if problem is None:
        logger.info("attention kernel: %s on %s", name, backend)
    else:
        logger.warning("%s; model.attention=auto takes %s, which keeps all scores in memory", problem, name)
