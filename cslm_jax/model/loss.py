"""Next-token cross entropy, a chunk of positions at a time.

With a vocabulary of 132k the B x T x V logits would be the largest array of the whole step. They are therefore never
whole: a scan over chunks of positions makes the gradients in the same pass as the loss, as their form is known.

Every device works through its own positions and sums its own gradient of the table: S in the shapes counts the devices that
hold different positions, and only the finished sums are sent, once a batch.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cslm_jax.model.axes import constrain, ways


@dataclasses.dataclass(frozen=True)
class LossSums:
    """Sums over positions; divide by `weight` for means, add up over micro-batches and hosts."""

    nll: Float[Array, ""]
    """Weighted negative log-likelihood, in nats."""
    weight: Float[Array, ""]
    """Loss weights."""
    z: Float[Array, ""]
    """Weighted squared log-normaliser, the z-loss before its coefficient."""
    row_nll: Float[Array, "B"]
    """nll of each row."""
    row_weight: Float[Array, "B"]
    """weight of each row."""


jax.tree_util.register_dataclass(LossSums)


def next_token(
    hidden: Float[Array, "B T D"],
    table: Float[Array, "V D"],
    tokens: Int[Array, "B T"],
    loss_weights: Float[Array, "B T"],
    segment_ids: Int[Array, "B T"],
    z_loss: float = 0.0,
    chunk: int = 512,
) -> tuple[Float[Array, ""], LossSums]:
    """Loss to differentiate (nll + z_loss * z, summed over positions) and the sums to report.

    Args:
        hidden: final hidden states.
        table: rows of the output layer.
        tokens: the packed tokens themselves; position t predicts t + 1 if both are in the same segment.
        loss_weights: weight of a token as a target (0: context only).
        segment_ids: 0 for padding.
        z_loss: coefficient of the squared log-normaliser (PaLM, Chowdhery et al. 2022).
        chunk: positions of a device whose logits exist at a time.
    """
    targets, weights = shift(tokens, loss_weights, segment_ids)
    total, nll, z = _summed(hidden, table, targets, weights, z_loss, chunk)
    row_nll, row_weight = nll.sum(axis=1), weights.sum(axis=1)
    sums = LossSums(row_nll.sum(), row_weight.sum(), z.sum(), row_nll, row_weight)
    return total, jax.lax.stop_gradient(sums)


def shift(tokens: Int[Array, "B T"], loss_weights: Float[Array, "B T"], segment_ids: Int[Array, "B T"]):
    """Target and weight of every position: the next token's, where it belongs to the same segment, else 0."""
    same = (segment_ids[:, 1:] == segment_ids[:, :-1]) & (segment_ids[:, 1:] != 0)
    weights = jnp.where(same, loss_weights[:, 1:], 0.0)
    return _append_zero(tokens[:, 1:]), _append_zero(weights)


def reference(hidden, table, targets, weights, z_loss):
    """The plain loss with all logits at once; `_summed` must agree with it, gradients included."""
    nll, z = _position_losses(_logits(hidden, table), targets, weights)
    return nll.sum() + z_loss * z.sum(), nll, z


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _summed(hidden, table, targets, weights, z_loss, chunk):
    """Loss to differentiate, and nll and z of every position."""
    shape = targets.shape

    def body(_, inputs):
        h, target, weight = inputs
        return None, _position_losses(_logits(h, table), target, weight)

    _, losses = jax.lax.scan(body, None, _chunks(chunk, hidden, targets, weights))
    nll, z = (_whole(part, shape) for part in losses)
    return nll.sum() + z_loss * z.sum(), nll, z


def _summed_forward(hidden, table, targets, weights, z_loss, chunk):
    shape = targets.shape

    def body(table_gradient, inputs):
        h, target, weight = inputs
        logits = _logits(h, table)
        losses = _position_losses(logits, target, weight)
        d_logits = _logit_gradient(logits, target, weight, z_loss).astype(h.dtype)
        d_hidden = jnp.einsum("scv,vd->scd", d_logits, table.astype(h.dtype))
        # Narrow operand first: the first one is what XLA:CPU transposes in memory (see linear.py).
        more = jnp.einsum("scd,scv->sdv", h, d_logits, preferred_element_type=jnp.float32)
        return constrain(table_gradient + more, "shards", None, "vocabulary"), (losses, d_hidden)

    chunks = _chunks(chunk, hidden, targets, weights)
    start = jnp.zeros((chunks[0].shape[1], *table.shape[::-1]), jnp.float32)
    d_table, (losses, d_hidden) = jax.lax.scan(body, constrain(start, "shards", None, "vocabulary"), chunks)
    nll, z = (_whole(part, shape) for part in losses)
    gradients = _whole(d_hidden, shape), d_table.sum(axis=0).T.astype(table.dtype)
    return (nll.sum() + z_loss * z.sum(), nll, z), gradients


def _summed_backward(z_loss, chunk, gradients, cotangents):
    d_hidden, d_table = gradients
    scale = cotangents[0]
    return (d_hidden * scale).astype(d_hidden.dtype), (d_table * scale).astype(d_table.dtype), None, None


_summed.defvjp(_summed_forward, _summed_backward)


def _logits(hidden, table):
    logits = jnp.einsum("scd,vd->scv", hidden, table.astype(hidden.dtype), preferred_element_type=jnp.float32)
    return constrain(logits, "shards", None, "vocabulary")


def _position_losses(logits: Float[Array, "S C V"], targets: Int[Array, "S C"], weights: Float[Array, "S C"]):
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return weights * (normaliser - chosen), weights * jnp.square(normaliser)


def _logit_gradient(logits, targets, weights, z_loss):
    normaliser = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    probabilities = jnp.exp(logits - normaliser) * (1 + 2 * z_loss * normaliser)
    chosen = targets[..., None] == jnp.arange(logits.shape[-1])
    return weights[..., None] * (probabilities - chosen)


def _chunks(size: int, *arrays):
    """Arrays [B, T, ...] as [N, S, C, ...]: N chunks, each with C of every device's own positions, which nothing moves."""
    rows, columns = ways("batch"), ways("length")

    def split(array):
        batch, length, *rest = array.shape
        blocks = jnp.moveaxis(array.reshape(rows, batch // rows, columns, length // columns, *rest), 2, 1)
        own = (batch // rows) * (length // columns)
        chunk = _divisor(own, size)
        dealt = constrain(blocks.reshape(rows * columns, own, *rest), "shards", *(None,) * (1 + len(rest)))
        return jnp.moveaxis(dealt.reshape(rows * columns, own // chunk, chunk, *rest), 1, 0)

    return tuple(split(array) for array in arrays)


def _whole(chunks: Float[Array, "N S C ..."], shape: tuple[int, int]) -> Float[Array, "B T ..."]:
    """The inverse of `_chunks`."""
    rows, columns, rest = ways("batch"), ways("length"), chunks.shape[3:]
    batch, length = shape
    dealt = jnp.moveaxis(chunks, 0, 1).reshape(rows, columns, batch // rows, length // columns, *rest)
    return constrain(jnp.moveaxis(dealt, 1, 2).reshape(batch, length, *rest), "batch", "length", *(None,) * len(rest))


def _divisor(length: int, chunk: int) -> int:
    """The largest divisor of the length that is at most `chunk`."""
    return next(size for size in range(min(length, chunk), 0, -1) if length % size == 0)


def _append_zero(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (0, 1)))
