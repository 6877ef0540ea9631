"""One optimizer step over a global batch: the pure function that is compiled once and run to the end."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from cslm_jax.model import llama, loss, parameters
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.loss import LossSums
from cslm_jax.model.parameters import Params
from cslm_jax.train.config import TrainConfig

Batch = dict[str, Array]
"""tokens, loss_weights, segment_ids, positions [B, T]; task [B]."""


@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that a step changes, and all that a checkpoint of the model holds."""

    step: Int[Array, ""]
    params: Params
    optimizer: optax.OptState
    """Of the parameters that are trained."""


@dataclasses.dataclass(frozen=True)
class Metrics:
    """What one step reports."""

    loss: Float[Array, ""]
    """Mean negative log-likelihood a weighted token, in nats."""
    learning_rate: Float[Array, ""]
    grad_norm: Float[Array, ""]
    """Global norm before clipping."""
    tokens: Int[Array, ""]
    """Tokens of the batch, padding not counted."""
    task_loss: Float[Array, "N"]
    """Mean nll of each task; NaN where it has no weighted token in this batch."""


jax.tree_util.register_dataclass(TrainState)
jax.tree_util.register_dataclass(Metrics)


def init_state(model: LlamaConfig, params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    trained, _ = parameters.split(params, llama.declared(model))
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(trained))


def make_train_step(
    model: LlamaConfig, config: TrainConfig, optimizer: optax.GradientTransformation, schedule: optax.Schedule, tasks: int
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The step function; jit it with the state donated. `schedule` is the one inside the optimizer, for the log."""

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        trained, frozen = parameters.split(state.params, llama.declared(model))
        gradients, sums = _accumulated(model, config, trained, frozen, batch)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, trained)
        params = parameters.join(optax.apply_updates(trained, updates), frozen)
        metrics = _metrics(batch, gradients, sums, schedule(state.step), tasks)
        return TrainState(state.step + 1, params, optimizer_state), metrics

    return train_step


def batch_loss(model: LlamaConfig, config: TrainConfig, params: Params, batch: Batch) -> tuple[Float[Array, ""], LossSums]:
    """Summed loss of a batch and the sums to report."""
    bound = llama.bind(model, params)
    hidden = bound(batch["tokens"], batch["positions"], batch["segment_ids"])
    streams = batch["tokens"], batch["loss_weights"], batch["segment_ids"]
    return loss.next_token(hidden, bound.table, *streams, z_loss=config.z_loss, tile=config.loss_tile, frozen=bound.frozen_table)


def _accumulated(
    model: LlamaConfig, config: TrainConfig, trained: Params, frozen: Params, batch: Batch
) -> tuple[Params, LossSums]:
    """Gradient of the mean loss over the whole batch, however many micro-batches it takes."""

    def part_loss(trained, part):
        return batch_loss(model, config, parameters.join(trained, frozen), part)

    differentiate = jax.grad(part_loss, has_aux=True)
    if config.accumulate == 1:
        gradients, sums = differentiate(trained, batch)
    else:
        gradients, sums = _scan_parts(differentiate, trained, _split(batch, config.accumulate))
    scale = 1 / jnp.maximum(sums.weight, 1e-9)
    return jax.tree.map(lambda g: g * scale.astype(g.dtype), gradients), sums


def _scan_parts(differentiate: Callable, params: Params, parts: Batch) -> tuple[Params, LossSums]:
    def body(gradients, part):
        more, sums = differentiate(params, part)
        return jax.tree.map(lambda total, g: total + g.astype(jnp.float32), gradients, more), sums

    start = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
    gradients, sums = jax.lax.scan(body, start, parts)
    rows = (_join(sums.row_nll), _join(sums.row_weight))
    return gradients, LossSums(sums.nll.sum(), sums.weight.sum(), sums.z.sum(), *rows)


def _split(batch: Batch, parts: int) -> Batch:
    """Deals rows out like cards, so that every device keeps its own rows in each micro-batch."""
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1), batch)


def _join(parts: Float[Array, "A b"]) -> Float[Array, "B"]:
    """Undoes `_split` for a figure a row."""
    return jnp.swapaxes(parts, 0, 1).reshape(-1)


def _metrics(batch: Batch, gradients: Params, sums: LossSums, learning_rate, tasks: int) -> Metrics:
    nll = jax.ops.segment_sum(sums.row_nll, batch["task"], tasks)
    weight = jax.ops.segment_sum(sums.row_weight, batch["task"], tasks)
    return Metrics(
        loss=sums.nll / jnp.maximum(sums.weight, 1e-9),
        learning_rate=jnp.asarray(learning_rate, jnp.float32),
        grad_norm=optax.global_norm(gradients),
        tokens=jnp.sum(batch["segment_ids"] != 0),
        task_loss=nll / weight,
    )
