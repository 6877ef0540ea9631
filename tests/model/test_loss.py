"""The tiled loss is the plain one, gradients included, and only counts targets inside a segment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.model import loss


def inputs(length=24):
    keys = jax.random.split(jax.random.key(0), 4)
    hidden = jax.random.normal(keys[0], (3, length, 8))
    table = jax.random.normal(keys[1], (30, 8))
    tokens = jax.random.randint(keys[2], (3, length), 0, 30)
    weights = jax.random.uniform(keys[3], (3, length))
    segments = jnp.asarray(np.repeat([[1, 2, 0]], [10, 8, length - 18], axis=1).repeat(3, 0))
    return hidden, table, tokens, weights, segments


def test_targets_are_next_tokens_of_the_same_segment():
    tokens = jnp.array([[5, 6, 7, 8, 9, 0]])
    segments = jnp.array([[1, 1, 2, 2, 2, 0]])
    weights = jnp.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    targets, weight = loss.shift(tokens, weights, segments)
    np.testing.assert_array_equal(weight, [[2, 0, 4, 5, 0, 0]])
    np.testing.assert_array_equal(targets[0, [0, 2, 3]], [6, 8, 9])


@pytest.mark.parametrize("tile", [1, 7, 10, 29])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_tiled_equals_plain(tile, z_loss):
    hidden, table, tokens, weights, segments = inputs()
    targets, shifted = loss.shift(tokens, weights, segments)

    def tiled(hidden, table):
        return loss.next_token(hidden, table, tokens, weights, segments, z_loss, tile)

    def plain(hidden, table):
        nll, z = loss.reference(hidden, table, targets, shifted)
        return nll.sum() + z_loss * z.sum(), (nll.sum(axis=1), z.sum())

    (total, sums), gradients = jax.jit(jax.value_and_grad(tiled, (0, 1), has_aux=True))(hidden, table)
    (expected, (row_nll, z)), expected_gradients = jax.value_and_grad(plain, (0, 1), has_aux=True)(hidden, table)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_allclose(sums.row_nll, row_nll, rtol=1e-5)
    np.testing.assert_allclose(sums.z, z, rtol=1e-5)
    np.testing.assert_allclose(sums.weight, shifted.sum(), rtol=1e-6)
    for ours, theirs in zip(gradients, expected_gradients):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_frozen_rows_count_but_have_no_gradient():
    hidden, table, tokens, weights, segments = inputs()

    def divided(hidden, new):
        return loss.next_token(hidden, new, tokens, weights, segments, 0.1, 8, frozen=table[:20])

    def whole(hidden, table):
        return loss.next_token(hidden, table, tokens, weights, segments, 0.1, 8)

    (total, _), (d_hidden, d_new) = jax.jit(jax.value_and_grad(divided, (0, 1), has_aux=True))(hidden, table[20:])
    (expected, _), (expected_hidden, d_table) = jax.jit(jax.value_and_grad(whole, (0, 1), has_aux=True))(hidden, table)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_allclose(divided(hidden, table[20:])[0], expected, rtol=1e-6)
    np.testing.assert_allclose(d_hidden, expected_hidden, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(d_new, d_table[20:], rtol=1e-5, atol=1e-5)


def test_plain_loss_is_cross_entropy():
    hidden, table, tokens, weights, segments = inputs()
    targets, shifted = map(np.asarray, loss.shift(tokens, weights, segments))
    logits = np.asarray(hidden, np.float64) @ np.asarray(table, np.float64).T
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -(np.take_along_axis(log_probabilities, targets[..., None], -1)[..., 0] * shifted).sum()
    total, _ = loss.next_token(hidden, table, tokens, weights, segments)
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_gradient_scales_with_what_follows():
    """The backward pass is written by hand; it must apply the outer derivative."""
    hidden, table, *rest = inputs()
    gradient = jax.grad(lambda h: loss.next_token(h, table, *rest)[0])(hidden)
    scaled = jax.grad(lambda h: 3.0 * loss.next_token(h, table, *rest)[0])(hidden)
    np.testing.assert_allclose(scaled, 3 * gradient, rtol=1e-5, atol=1e-5)


def test_logits_are_never_whole():
    """Temporary memory must not grow with positions x vocabulary."""
    rows, length, width, vocabulary = 2, 1024, 16, 4096
    shapes = (
        jax.ShapeDtypeStruct((rows, length, width), jnp.float32),
        jax.ShapeDtypeStruct((vocabulary, width), jnp.float32),
        jax.ShapeDtypeStruct((rows, length), jnp.int32),
        jax.ShapeDtypeStruct((rows, length), jnp.float32),
        jax.ShapeDtypeStruct((rows, length), jnp.int32),
    )
    step = jax.jit(jax.grad(lambda h, t, *rest: loss.next_token(h, t, *rest, tile=256)[0], (0, 1)))
    memory = step.lower(*shapes).compile().memory_analysis()
    assert memory.temp_size_in_bytes < rows * length * vocabulary * 4 / 4
