"""Next-token cross entropy, a chunk of positions at a time.

With a vocabulary of 132k the B x T x V logits would be the largest array of the whole step. They are therefore never
whole: a scan over chunks of positions makes the gradients in the same pass as the loss, as their form is known.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cslm_jax.model.axes import constrain


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
        chunk: positions of a row whose logits exist at a time.
    """
    targets, weights = shift(tokens, loss_weights, segment_ids)
    size = _divisor(hidden.shape[1], chunk)
    total, row_nll, z = _summed(hidden, table, targets, weights, z_loss, size)
    sums = LossSums(row_nll.sum(), weights.sum(), z, row_nll, weights.sum(axis=1))
    return total, jax.lax.stop_gradient(sums)


def shift(tokens: Int[Array, "B T"], loss_weights: Float[Array, "B T"], segment_ids: Int[Array, "B T"]):
    """Target and weight of every position: the next token's, where it belongs to the same segment, else 0."""
    same = (segment_ids[:, 1:] == segment_ids[:, :-1]) & (segment_ids[:, 1:] != 0)
    weights = jnp.where(same, loss_weights[:, 1:], 0.0)
    return _append_zero(tokens[:, 1:]), _append_zero(weights)


def reference(hidden, table, targets, weights, z_loss):
    """The plain loss with all logits at once; `_summed` must agree with it, gradients included."""
    nll, z = _position_losses(_logits(hidden, table), targets, weights)
    return nll.sum() + z_loss * z.sum(), nll.sum(axis=1), z.sum()


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _summed(hidden, table, targets, weights, z_loss, chunk):
    def body(sums, inputs):
        nll, z = _position_losses(_logits(inputs[0], table), *inputs[1:])
        return (sums[0] + nll.sum(axis=1), sums[1] + z.sum()), None

    start = (jnp.zeros(hidden.shape[0], jnp.float32), jnp.float32(0.0))
    (row_nll, z), _ = jax.lax.scan(body, start, _chunked(chunk, hidden, targets, weights))
    return row_nll.sum() + z_loss * z, row_nll, z


def _summed_forward(hidden, table, targets, weights, z_loss, chunk):
    def body(carry, inputs):
        row_nll, z_sum, table_gradient = carry
        h, target, weight = inputs
        logits = _logits(h, table)
        nll, z = _position_losses(logits, target, weight)
        d_logits = _logit_gradient(logits, target, weight, z_loss).astype(h.dtype)
        d_hidden = jnp.einsum("bcv,vd->bcd", d_logits, table.astype(h.dtype))
        # Narrow operand first: the first one is what XLA:CPU transposes in memory (see linear.py). The sum lies as the table
        # does, so that it becomes the gradient in place: else there is a second array of the table's size.
        table_gradient += jnp.einsum("bcd,bcv->dv", h, d_logits, preferred_element_type=jnp.float32).T
        return (row_nll + nll.sum(axis=1), z_sum + z.sum(), table_gradient), d_hidden

    start = (jnp.zeros(hidden.shape[0], jnp.float32), jnp.float32(0.0), jnp.zeros(table.shape, jnp.float32))
    (row_nll, z, d_table), d_hidden = jax.lax.scan(body, start, _chunked(chunk, hidden, targets, weights))
    gradients = _unchunked(d_hidden), d_table.astype(table.dtype)
    return (row_nll.sum() + z_loss * z, row_nll, z), gradients


def _summed_backward(z_loss, chunk, gradients, cotangents):
    d_hidden, d_table = gradients
    scale = cotangents[0]
    return (d_hidden * scale).astype(d_hidden.dtype), (d_table * scale).astype(d_table.dtype), None, None


_summed.defvjp(_summed_forward, _summed_backward)


def _logits(hidden, table):
    logits = jnp.einsum("bcd,vd->bcv", hidden, table.astype(hidden.dtype), preferred_element_type=jnp.float32)
    return constrain(logits, "batch", None, "vocabulary")


def _position_losses(logits: Float[Array, "B C V"], targets: Int[Array, "B C"], weights: Float[Array, "B C"]):
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return weights * (normaliser - chosen), weights * jnp.square(normaliser)


def _logit_gradient(logits, targets, weights, z_loss):
    normaliser = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    probabilities = jnp.exp(logits - normaliser) * (1 + 2 * z_loss * normaliser)
    chosen = targets[..., None] == jnp.arange(logits.shape[-1])
    return weights[..., None] * (probabilities - chosen)


def _chunked(chunk: int, *arrays):
    """Splits axis T of every array and leads with the chunks; rows stay whole, so sharding over rows is kept."""
    return tuple(jnp.moveaxis(a.reshape(a.shape[0], -1, chunk, *a.shape[2:]), 1, 0) for a in arrays)


def _unchunked(chunks: Float[Array, "N B C D"]) -> Float[Array, "B T D"]:
    return jnp.moveaxis(chunks, 0, 1).reshape(chunks.shape[1], -1, chunks.shape[-1])


def _divisor(length: int, chunk: int) -> int:
    """The largest divisor of the length that is at most `chunk`."""
    return next(size for size in range(min(length, chunk), 0, -1) if length % size == 0)


def _append_zero(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (0, 1)))
