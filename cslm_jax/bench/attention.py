"""`cslm bench attention`: every kernel that this machine can run, on packed rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from cslm_jax.bench import report
from cslm_jax.bench.data import packed_rows, with_rows, without_data
from cslm_jax.bench.timing import compiled, measure
from cslm_jax.config import Experiment
from cslm_jax.model.attention import KERNELS, Kernel
from cslm_jax.model.llama import LlamaConfig

logger = logging.getLogger(__name__)


def attention(config: Experiment, tokens: int = 8192, repetitions: int = 10, json: str | None = None) -> None:
    """Time and memory of each attention kernel over one layer's heads on one device, forward, and with its gradients.

    Args:
        tokens: positions on the device, in rows of data.row_length.
        repetitions: calls that are timed; 0 only compiles.
        json: file for the same figures.
    """
    config = with_rows(without_data(config))
    segments = packed_rows(config, tokens)["segment_ids"]
    results = [
        result for name, kernel in KERNELS.items() for result in _kernel(name, kernel, config.model, segments, repetitions)
    ]
    report.publish("attention", config, report.describe_devices(), results, json)


def _kernel(name: str, kernel: Kernel, model: LlamaConfig, segments: jax.Array, repetitions: int) -> Iterator[dict]:
    def summed(*arguments):
        return kernel(*arguments).astype(jnp.float32).sum()

    for direction, function in (("forward", kernel), ("forward and backward", jax.grad(summed, argnums=(0, 1, 2)))):
        try:
            yield {"kernel": name, "direction": direction} | _measured(function, model, segments, repetitions)
        except Exception as error:  # a kernel that is not made for this machine fails in its own way
            logger.info("%s does not run here: %s", name, str(error).splitlines()[0])
            return


def _measured(function, model: LlamaConfig, segments: jax.Array, repetitions: int) -> dict:
    keys = jax.random.split(jax.random.key(0), 3)
    heads = model.heads, model.kv_heads, model.kv_heads
    arrays = [
        jax.random.normal(key, (*segments.shape, count, model.head_dim), model.compute_dtype) for key, count in zip(keys, heads)
    ]
    call, seconds = compiled(jax.jit(function), *arrays, segments)
    result = {
        "tokens": segments.size,
        "temporary_bytes": call.memory_analysis().temp_size_in_bytes,
        "compile_seconds": seconds,
    }
    if repetitions:
        result["seconds"] = measure(lambda: call(*arrays, segments), repetitions)
        result["tokens_per_second"] = segments.size / result["seconds"].median
    return result
