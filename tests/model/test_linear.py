"""`linear` is a plain product with a gradient rule of its own: both must stay exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.model.linear import linear


@pytest.mark.parametrize("width", [3, 11])
def test_value_and_gradients_are_those_of_a_product(width):
    keys = jax.random.split(jax.random.key(0), 3)
    x, weight = jax.random.normal(keys[0], (2, 5, 7)), jax.random.normal(keys[1], (7, width))
    mix = jax.random.normal(keys[2], (2, 5, width))
    ours = jax.value_and_grad(lambda x, w: (mix * linear(x, w)).sum(), (0, 1))(x, weight)
    plain = jax.value_and_grad(lambda x, w: (mix * (x @ w)).sum(), (0, 1))(x, weight)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, plain)


def test_weight_gradient_is_summed_in_the_weights_type():
    """With bfloat16 activations the sum over many positions would lose what float32 keeps: 5,001 is no bfloat16."""
    x = jnp.ones((1, 5001, 1), jnp.bfloat16)
    gradient = jax.grad(lambda w: linear(x, w).astype(jnp.float32).sum())(jnp.ones((1, 1), jnp.float32))
    assert gradient.dtype == jnp.float32 and gradient[0, 0] == 5001
