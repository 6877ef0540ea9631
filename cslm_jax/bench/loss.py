"""`cslm bench loss`: the tiled loss against one whose logits all exist at once."""

from __future__ import annotations

from collections.abc import Callable

import jax

from cslm_jax.bench import report
from cslm_jax.bench.data import packed_rows, with_rows, without_data
from cslm_jax.bench.timing import compiled, measure
from cslm_jax.config import Experiment
from cslm_jax.model import loss as losses


def loss(config: Experiment, tokens: int = 4096, repetitions: int = 10, json: str | None = None) -> None:
    """Time and memory of the loss and its gradients on one device, in tiles as in training and with all logits at once.

    Args:
        tokens: positions on the device, in rows of data.row_length.
        repetitions: calls that are timed; 0 only compiles, which tells the memory without using it.
        json: file for the same figures.
    """
    config = with_rows(without_data(config))
    batch, train = packed_rows(config, tokens), config.train

    def tiled(hidden, table, *streams):
        return losses.next_token(hidden, table, *streams, z_loss=train.z_loss, tile=train.loss_tile)[0]

    def plain(hidden, table, *streams):
        nll, z = losses.reference(hidden, table, *losses.shift(*streams))
        return nll.sum() + train.z_loss * z.sum()

    functions = {"tiled": tiled, "plain": plain}
    results = [{"loss": name} | _measured(config, function, batch, repetitions) for name, function in functions.items()]
    report.publish("loss", config, report.describe_devices(), results, json)


def _measured(config: Experiment, function: Callable, batch: dict[str, jax.Array], repetitions: int) -> dict:
    model, streams = config.model, [batch[name] for name in ("tokens", "loss_weights", "segment_ids")]
    hidden = jax.ShapeDtypeStruct((*streams[0].shape, model.width), model.compute_dtype)
    table = jax.ShapeDtypeStruct((model.vocabulary_size, model.width), model.param_dtype)
    call, seconds = compiled(jax.jit(jax.value_and_grad(function, argnums=(0, 1))), hidden, table, *streams)
    result = {
        "tokens": streams[0].size,
        "temporary_bytes": call.memory_analysis().temp_size_in_bytes,
        "compile_seconds": seconds,
    }
    if repetitions:
        keys = jax.random.split(jax.random.key(0))
        arrays = [jax.random.normal(key, like.shape, like.dtype) for key, like in zip(keys, (hidden, table))]
        result["seconds"] = measure(lambda: call(*arrays, *streams), repetitions)
        result["tokens_per_second"] = streams[0].size / result["seconds"].median
    return result
