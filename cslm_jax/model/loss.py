"""Next-token cross entropy, a tile of the vocabulary at a time.

With a vocabulary of 132k the B x T x V logits would be the largest array of the whole step. They are therefore never whole:
both passes go through the vocabulary in tiles. The backward pass computes each tile's logits again, which costs a quarter of
the loss; in return the gradient of a tile of the table is whole at once, and nothing as large as the table is summed up.

Under tensor parallelism the table's parts lie on different devices; arrays then have a leading axis R of parts ("*R" in the
shapes). Every device goes through its own part, and the parts meet once at the end.
"""

import dataclasses
import logging
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.model.axes import constrain, ways

logger = logging.getLogger(__name__)


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
    tile: int = 2048,
    frozen: Float[Array, "F D"] | None = None,
) -> tuple[Float[Array, ""], LossSums]:
    """Loss to differentiate (nll + z_loss * z, summed over positions) and the sums to report.

    Args:
        hidden: final hidden states.
        table: rows of the output layer.
        tokens: the packed tokens themselves; position t predicts t + 1 if both are in the same segment.
        loss_weights: weight of a token as a target (0: context only).
        segment_ids: 0 for padding.
        z_loss: coefficient of the squared log-normaliser (PaLM, Chowdhery et al. 2022).
        tile: tokens of the vocabulary whose logits exist at a time.
        frozen: rows of the output layer before those of `table`; no gradient is computed for them.
    """
    targets, weights = shift(tokens, loss_weights, segment_ids)
    if frozen is None and table.shape[0] <= tile:
        nll, z = reference(hidden, table, targets, weights)  # keeps one tile's logits and computes nothing twice
    else:
        old = None if frozen is None else _tiles(frozen, tile)
        nll, z = _position_losses(hidden, _tiles(table, tile), old, targets, weights)
    total = nll.sum() + z_loss * z.sum()
    row_nll, row_weight = nll.sum(axis=1), weights.sum(axis=1)
    sums = LossSums(row_nll.sum(), row_weight.sum(), z.sum(), row_nll, row_weight)
    return total, jax.lax.stop_gradient(sums)


def shift(tokens: Int[Array, "B T"], loss_weights: Float[Array, "B T"], segment_ids: Int[Array, "B T"]):
    """Target and weight of every position: the next token's, where it belongs to the same segment, else 0."""
    same = (segment_ids[:, 1:] == segment_ids[:, :-1]) & (segment_ids[:, 1:] != 0)
    weights = jnp.where(same, loss_weights[:, 1:], 0.0)
    return _append_zero(tokens[:, 1:]), _append_zero(weights)


def reference(hidden, table, targets, weights):
    """nll and z of every position from all logits at once; `_position_losses` must agree, gradients included."""
    logits = jnp.einsum("btd,vd->btv", hidden, table.astype(hidden.dtype), preferred_element_type=jnp.float32)
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return weights * (normaliser - chosen), weights * jnp.square(normaliser)


@jax.custom_vjp
def _position_losses(
    hidden: Float[Array, "B T D"],
    tiles: Float[Array, "N *R V D"],
    frozen: Float[Array, "M *R V D"] | None,
    targets: Int[Array, "B T"],
    weights: Float[Array, "B T"],
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """nll and z of every position."""
    return _forward(hidden, tiles, frozen, targets, weights)[0]


def _forward(hidden, tiles, frozen, targets, weights):
    before = 0 if frozen is None else _rows(frozen)
    normaliser, chosen = _scores(hidden, tiles, targets - before)
    if frozen is not None:
        more, chosen_there = _scores(hidden, frozen, targets)
        normaliser, chosen = jnp.logaddexp(normaliser, more), chosen + chosen_there
    losses = weights * (normaliser - chosen), weights * jnp.square(normaliser)
    return losses, (hidden, tiles, frozen, targets, weights, normaliser)


def _scores(hidden, tiles, targets) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Log of the summed exponentials of the logits of these tiles, and the target's logit, 0 where it is in none of them."""
    spread = _spread(hidden, tiles)

    def body(_, inputs):
        logits = _logits(spread, inputs[0])
        return None, (jax.nn.logsumexp(logits, axis=-1), jnp.sum(logits, axis=-1, where=_is_target(targets, *inputs)))

    _, (parts, chosen) = jax.lax.scan(body, None, (tiles, _first_ids(tiles)))
    axes = tuple(range(parts.ndim - 2))
    return jax.nn.logsumexp(parts, axis=axes), chosen.sum(axis=axes)


def _backward(saved, cotangents):
    hidden, tiles, frozen, targets, weights, normaliser = saved
    d_nll, d_z = (weights * cotangent for cotangent in cotangents)
    figures = normaliser, d_nll, d_nll + 2 * normaliser * d_z
    before = 0 if frozen is None else _rows(frozen)
    d_hidden, d_tiles = _gradients(hidden, tiles, targets - before, *figures)
    if frozen is not None:
        d_hidden += _gradients(hidden, frozen, targets, *figures, trained=False)[0]
    return d_hidden.astype(hidden.dtype), d_tiles, None, None, None


def _gradients(hidden, tiles, targets, normaliser, d_nll, d_normaliser, trained: bool = True):
    """Gradients of the hidden states, in float32, and of the tiles; None for tiles that are not trained."""
    spread = _spread(hidden, tiles)

    def body(d_hidden, inputs):
        probabilities = jnp.exp(_logits(spread, inputs[0]) - normaliser[..., None])
        d_logits = d_normaliser[..., None] * probabilities - d_nll[..., None] * _is_target(targets, *inputs)
        d_logits, tile = d_logits.astype(hidden.dtype), inputs[0].astype(hidden.dtype)
        d_hidden += jnp.einsum("...btv,...vd->...btd", d_logits, tile, preferred_element_type=jnp.float32)
        if not trained:
            return d_hidden, None
        d_tile = jnp.einsum("...btv,...btd->...vd", d_logits, spread, preferred_element_type=tiles.dtype)
        return d_hidden, constrain(d_tile, *_PARTS[: tiles.ndim - 3], None, "width")

    d_hidden, d_tiles = jax.lax.scan(body, jnp.zeros(spread.shape, jnp.float32), (tiles, _first_ids(tiles)))
    return d_hidden.sum(axis=tuple(range(d_hidden.ndim - 3))), d_tiles


_position_losses.defvjp(_forward, _backward)

_PARTS = ("vocabulary",)
"""Name of the axis R, where there is one."""


def _tiles(table: Float[Array, "V D"], most: int) -> Float[Array, "N *R V D"]:
    """The table in tiles of at most so many rows: tiles of each part, where it is split."""
    parts = (ways("vocabulary"),) if ways("vocabulary") > 1 and table.shape[0] % ways("vocabulary") == 0 else ()
    size = table.shape[0] // math.prod(parts)
    rows = _divisor(size, most)
    if 8 * rows < min(size, most):
        logger.warning("%d rows of the vocabulary fall into tiles of %d, which is slow; pad it (vocabulary.pad_to)", size, rows)
    return jnp.moveaxis(table.reshape(*parts, -1, rows, table.shape[1]), -3, 0)


def _rows(tiles: Float[Array, "N *R V D"]) -> int:
    return math.prod(tiles.shape[:-1])


def _first_ids(tiles: Float[Array, "N *R V D"]) -> Int[Array, "N *R"]:
    """Token id of the first row of every tile."""
    count, *parts, rows, _ = tiles.shape
    return jnp.moveaxis(rows * jnp.arange(count * math.prod(parts)).reshape(*parts, count), -1, 0)


def _spread(hidden: Float[Array, "B T D"], tiles: Float[Array, "N *R V D"]) -> Float[Array, "*R B T D"]:
    """A copy for every part, so that what each part sums up stays apart until the end."""
    parts = tiles.shape[1:-2]
    return constrain(jnp.broadcast_to(hidden, (*parts, *hidden.shape)), *_PARTS[: len(parts)], "batch", "length", None)


def _logits(hidden: Float[Array, "*R B T D"], tile: Float[Array, "*R V D"]) -> Float[Array, "*R B T V"]:
    return jnp.einsum("...btd,...vd->...btv", hidden, tile.astype(hidden.dtype), preferred_element_type=jnp.float32)


def _is_target(targets: Int[Array, "B T"], tile: Float[Array, "*R V D"], first: Int[Array, "*R"]) -> Bool[Array, "*R B T V"]:
    return targets[..., None] == first[..., None, None, None] + jnp.arange(tile.shape[-2])


def _divisor(size: int, most: int) -> int:
    """The largest divisor of the size that is at most `most`."""
    return next(n for n in range(min(size, most), 0, -1) if size % n == 0)


def _append_zero(x: Array) -> Array:
    return jnp.pad(x, ((0, 0), (0, 1)))
