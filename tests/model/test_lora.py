"""Adapters beside frozen weights: they begin as nothing, learn what torch says, and merge into the weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.model import llama, lora
from cslm_jax.model.cache import init_cache
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.model.loss import next_token
from cslm_jax.model.parameters import join, map_declared, split

FROZEN = 40
PLAIN = LlamaConfig(vocabulary_size=48, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=40, attention="reference")
ADAPTED = dataclasses.replace(PLAIN, lora=LoraConfig(rank=3, alpha=6.0, frozen_rows=FROZEN))
TIED = dataclasses.replace(ADAPTED, tied=True)


def noisy_params(config):
    """Random parameters; adapters too, of which B would begin at zero."""
    rng = np.random.default_rng(0)

    def draw(d):
        scale = 0.1 if d.stddev == 0 else d.stddev
        return jnp.asarray(1 + 0.1 * rng.normal(size=d.shape) if scale is None else scale * rng.normal(size=d.shape), d.dtype)

    return map_declared(draw, llama.declared(config))


def whole(config, params):
    """The same model without adapters."""
    return dataclasses.replace(config, lora=LoraConfig()), lora.join_tables(lora.merged(config.lora, params))


def row(rows=2, length=24):
    tokens = jax.random.randint(jax.random.key(3), (rows, length), 0, PLAIN.vocabulary_size)
    return tokens, jnp.broadcast_to(jnp.arange(length), tokens.shape), jnp.ones_like(tokens)


def logits_of(config, params):
    @jax.jit
    def run(params):
        model = llama.bind(config, params)
        return model.logits(model(*row()))

    return run(params)


@pytest.mark.parametrize("config", [ADAPTED, TIED], ids=["apart", "tied"])
def test_fresh_adapters_change_nothing(config):
    without = dataclasses.replace(config, lora=LoraConfig())
    params = noisy_params(without)
    adapted = join(llama.initialise(config, jax.random.key(0)), lora.split_tables(config.lora, params))
    assert adapted["blocks"]["mlp"]["down_lora"]["a"].std() > 0.1
    np.testing.assert_allclose(logits_of(config, adapted), logits_of(without, params), atol=1e-6)


def test_only_adapters_and_new_rows_are_trained_and_they_are_float32():
    model = dataclasses.replace(ADAPTED, param_dtype="bfloat16")
    trained, frozen = split(llama.initialise(model, jax.random.key(0)), llama.declared(model))
    names = {"/".join(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(trained)}
    matrices = [f"attention/{name}" for name in ("query", "key", "value", "output")] + ["mlp/gate", "mlp/up", "mlp/down"]
    assert names == {"new_embedding", "new_output"} | {f"blocks/{name}_lora/{half}" for name in matrices for half in "ab"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(trained)} == {"float32"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(frozen)} == {"bfloat16"}
    assert frozen["embedding"].shape == (FROZEN, 32) and trained["new_output"].shape == (48 - FROZEN, 32)


@pytest.mark.parametrize("config", [ADAPTED, TIED], ids=["apart", "tied"])
def test_loss_and_gradients_are_those_of_torch_on_merged_weights(config, transformers_model, published_tensors):
    """torch's autograd gives dW of W + scale A B, and from it dA = scale dW B^T and dB = scale A^T dW."""
    import torch

    params = noisy_params(config)
    trained, frozen = split(params, llama.declared(config))
    tokens, positions, segments = row()

    def loss(trained):
        model = llama.bind(config, join(trained, frozen))
        weights = jnp.ones(tokens.shape, jnp.float32)
        hidden = model(tokens, positions, segments)
        return next_token(hidden, model.table, tokens, weights, segments, tile=8, frozen=model.frozen_table)[0] / 46

    value, gradients = jax.jit(jax.value_and_grad(loss))(trained)
    theirs = transformers_model(*whole(config, params))
    ids = torch.tensor(np.asarray(tokens)).long()
    expected = theirs(ids, labels=ids).loss
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)

    grads = {name: parameter.grad.numpy() for name, parameter in theirs.named_parameters()}
    for ours, name in {"new_embedding": "model.embed_tokens", "new_output": "lm_head"}.items():
        if ours in gradients:
            np.testing.assert_allclose(gradients[ours], grads[f"{name}.weight"][FROZEN:], atol=1e-5)
    published = {"attention": ("self_attn", {"query": "q", "key": "k", "value": "v", "output": "o"}),
                 "mlp": ("mlp", {"gate": "gate", "up": "up", "down": "down"})}  # fmt: skip
    for part, (module, names) in published.items():
        for ours, name in names.items():
            for layer in range(config.layers):
                d_weight = grads[f"model.layers.{layer}.{module}.{name}_proj.weight"].T
                a, b = (np.asarray(params["blocks"][part][f"{ours}_lora"][half][layer]) for half in "ab")
                got = {half: gradients["blocks"][part][f"{ours}_lora"][half][layer] for half in "ab"}
                d_a = config.lora.scale * d_weight @ b.reshape(3, -1).T
                d_b = config.lora.scale * a.reshape(-1, 3).T @ d_weight
                np.testing.assert_allclose(got["a"].reshape(-1, 3), d_a, atol=1e-5, err_msg=f"{ours} A")
                np.testing.assert_allclose(got["b"].reshape(3, -1), d_b, atol=1e-5, err_msg=f"{ours} B")


def test_prefill_and_decode_use_adapters_and_new_rows_too():
    params = noisy_params(ADAPTED)
    tokens, positions, _ = row()

    @jax.jit
    def cached(params):
        model = llama.bind(ADAPTED, params)
        first, past = model.extend(tokens[:, :20], positions[:, :20], init_cache(ADAPTED, 2, 24))
        last, _ = model.extend(tokens[:, 20:], positions[:, 20:], past)
        return model.logits(jnp.concatenate([first, last], axis=1))

    np.testing.assert_allclose(cached(params), logits_of(*whole(ADAPTED, params)), atol=1e-4)


def test_merging_is_done_in_float32():
    config = dataclasses.replace(ADAPTED, param_dtype="bfloat16")
    params = noisy_params(config)
    adapter, weight = (params["blocks"]["mlp"][name] for name in ("down_lora", "down"))
    expected = np.asarray(weight, np.float64) + 2.0 * np.asarray(adapter["a"], np.float64) @ np.asarray(adapter["b"], np.float64)
    ours = lora.merged(config.lora, params)
    assert ours["blocks"]["mlp"]["down"].dtype == jnp.float32 and "down_lora" not in ours["blocks"]["mlp"]
    np.testing.assert_allclose(ours["blocks"]["mlp"]["down"], expected, atol=1e-6)


@pytest.mark.parametrize("changes", [{"rank": -1}, {"alpha": 0.0}, {"frozen_rows": 0}])
def test_an_impossible_config_names_its_field(changes):
    with pytest.raises(ValueError, match=f"model.lora.*{next(iter(changes))}"):
        LoraConfig(**changes)
