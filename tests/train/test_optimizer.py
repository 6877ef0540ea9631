"""The schedule is warm-up and cosine, and one update is AdamW's or Muon's."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cslm_jax.model import llama
from cslm_jax.model.lora import LoraConfig
from cslm_jax.model.parameters import split
from cslm_jax.train.optimizer import OptimizerConfig, make_optimizer, schedule


def test_schedule_rises_to_the_peak_and_falls_as_a_cosine():
    rates = schedule(OptimizerConfig(learning_rate=2.0, warmup=0.1, end=0.25), 100)
    np.testing.assert_allclose([rates(s) for s in range(10)], np.arange(1, 11) / 5, rtol=1e-6)
    for step in (10, 40, 99):
        expected = 0.5 + 1.5 * 0.5 * (1 + math.cos(math.pi * (step - 10) / 90))
        np.testing.assert_allclose(rates(step), expected, rtol=1e-5)


@pytest.mark.parametrize("steps, warmup", [(1, 0.03), (3, 0.03), (40, 0.0)])
def test_short_runs_start_at_the_peak(steps, warmup):
    rates = schedule(OptimizerConfig(learning_rate=1.0, warmup=warmup), steps)
    np.testing.assert_allclose(rates(0), 1.0, rtol=1e-6)
    assert all(0 <= rates(step) <= 1 for step in range(steps))


def test_update_equals_torch_and_spares_norms_from_decay(tiny_model):
    torch = pytest.importorskip("torch")
    model = dataclasses.replace(tiny_model, vocabulary_size=24)
    config = OptimizerConfig(learning_rate=0.1, warmup=0.0, weight_decay=0.5, clip=0.3, b2=0.9)
    params = llama.initialise(model, jax.random.key(0))
    gradients = jax.tree.map(lambda p: jax.random.normal(jax.random.key(p.size), p.shape), params)
    optimizer = make_optimizer(config, 10, llama.declared(model))
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    ours = optax.apply_updates(params, updates)

    for name, decay in (("embedding", 0.5), ("final_norm", 0.0)):
        parameter = torch.nn.Parameter(torch.tensor(np.asarray(params[name])))
        parameter.grad = torch.tensor(np.asarray(gradients[name])) * (0.3 / float(optax.global_norm(gradients)))
        torch.optim.AdamW([parameter], lr=0.1, betas=(0.9, 0.9), weight_decay=decay).step()
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), atol=1e-5)


def test_muon_moves_each_layers_matrix_as_torch_does_and_tables_at_their_own_rate(tiny_model):
    torch = pytest.importorskip("torch")
    model = dataclasses.replace(tiny_model, vocabulary_size=24)
    config = OptimizerConfig(algorithm="muon", learning_rate=0.1, table_rate=2.0, warmup=0.0, clip=1e9)
    params = llama.initialise(model, jax.random.key(0))
    gradients = jax.tree.map(lambda p: jax.random.normal(jax.random.key(p.size), p.shape), params)
    optimizer = make_optimizer(config, 10, llama.declared(model))
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)

    def by_torch(gradient):
        parameter = torch.nn.Parameter(torch.zeros(gradient.shape))
        parameter.grad = torch.tensor(np.asarray(gradient))
        torch.optim.Muon([parameter], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
        return parameter.detach().numpy()

    attention = updates["blocks"]["attention"]
    for name, joined in (("query", (model.width, -1)), ("output", (-1, model.width))):
        for layer in range(model.layers):
            gradient = gradients["blocks"]["attention"][name][layer].reshape(joined)
            moved = by_torch(gradient)
            # torch orthogonalises in bfloat16.
            np.testing.assert_allclose(attention[name][layer].reshape(joined), moved, atol=0.02 * np.abs(moved).max())
    # The first step of AdamW with Nesterov momentum: as far for every weight, against its gradient.
    first = 0.1 * 2.0 * (1 + config.b1 / (1 + config.b1))
    for name in ("embedding", "final_norm"):
        np.testing.assert_allclose(updates[name], -first * np.sign(gradients[name]), rtol=1e-4)


def test_muon_turns_adapters_between_their_rank_and_the_other_side(tiny_model):
    """Orthogonalised, an adapter's update has R equal singular values, whatever the gradient's; new rows are AdamW's."""
    model = dataclasses.replace(tiny_model, vocabulary_size=24, lora=LoraConfig(rank=3, frozen_rows=16))
    config = OptimizerConfig(algorithm="muon", learning_rate=0.1, warmup=0.0, clip=1e9)
    params, _ = split(llama.initialise(model, jax.random.key(0)), llama.declared(model))
    gradients = jax.tree.map(lambda p: jax.random.normal(jax.random.key(p.size), p.shape), params)
    optimizer = make_optimizer(config, 10, llama.declared(model))
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    for name, half in (("query_lora", "a"), ("query_lora", "b"), ("output_lora", "a"), ("output_lora", "b")):
        update = updates["blocks"]["attention"][name][half][0]
        values = np.linalg.svd(update.reshape(*((-1, 3) if half == "a" else (3, -1))), compute_uv=False)
        assert values.max() < 2 * values.min(), (name, half)
    assert np.unique(np.abs(updates["new_embedding"]).round(4)).size == 1


IMPOSSIBLE = [
    ("algorithm", "sgd"), ("learning_rate", 0.0), ("table_rate", 0.0), ("warmup", 1.5), ("end", 2.0), ("b1", 1.0),
    ("b2", -0.1), ("epsilon", -1e-8), ("weight_decay", -0.1), ("clip", -1.0), ("moment_dtype", "float16"),
]  # fmt: skip


@pytest.mark.parametrize("field, value", IMPOSSIBLE)
def test_an_impossible_config_names_its_field(field, value):
    with pytest.raises(ValueError, match=field):
        OptimizerConfig(**{field: value})


@pytest.mark.parametrize("algorithm", ["adamw", "muon"])
def test_moments_take_the_asked_type(tiny_model, algorithm):
    """Whichever of the two algorithms a parameter falls to, and also after an update."""
    model = dataclasses.replace(tiny_model, vocabulary_size=4)
    params = llama.initialise(model, jax.random.key(0))
    optimizer = make_optimizer(OptimizerConfig(algorithm=algorithm, moment_dtype="bfloat16"), 10, llama.declared(model))
    exact = make_optimizer(OptimizerConfig(algorithm=algorithm), 10, llama.declared(model))
    state = optimizer.init(params)
    updates, after = optimizer.update(params, state, params)
    for moments in (state, after):
        assert not [
            leaf.shape
            for leaf in jax.tree.leaves(moments)
            if leaf.dtype == jnp.float32 and leaf.shape == params["embedding"].shape
        ]
        small = [leaf for leaf in jax.tree.leaves(moments) if leaf.dtype == jnp.bfloat16]
        assert len(small) >= len(jax.tree.leaves(params))
    expected, _ = exact.update(params, exact.init(params), params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected)
