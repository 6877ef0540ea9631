"""The decoder is Llama: its logits are those of transformers, packed or not, cached or not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.errors import CslmError
from cslm_jax.model import llama
from cslm_jax.model.cache import init_cache
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.loss import next_token
from cslm_jax.model.parameters import map_declared
from cslm_jax.model.rope import RopeScaling
from cslm_jax.model.vocabulary_extension import extend_vocabulary

TINY = LlamaConfig(vocabulary_size=48, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=40, attention="reference")
SCALING = RopeScaling(factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_length=32)


def noisy_params(config):
    """Random parameters, with norm scales that are not all one, so that a missing scale shows."""
    rng = np.random.default_rng(0)

    def draw(d):
        return jnp.asarray(1 + 0.1 * rng.normal(size=d.shape) if d.stddev is None else d.stddev * rng.normal(size=d.shape))

    return map_declared(lambda d: draw(d).astype(config.param_dtype), llama.declared(config))


def logits_of(config, params, tokens, positions, segment_ids):
    def run(params):
        model = llama.bind(config, params)
        return model.logits(model(tokens, positions, segment_ids))

    return jax.jit(run)(params)


def row(tokens):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return tokens, positions, jnp.ones_like(tokens)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kv_heads": 1, "tied": True},
        {"kv_heads": 4, "rope_scaling": SCALING, "attention": "blocked"},
        {"head_dim": 16, "rope_theta": 10_000.0, "unroll": 2, "remat": "full"},
    ],
)
def test_logits_equal_transformers(changes, transformers_model):
    import torch

    config = dataclasses.replace(TINY, **changes)
    params = noisy_params(config)
    tokens = np.random.default_rng(0).integers(0, 48, (2, 70))
    with torch.no_grad():
        expected = transformers_model(config, params)(torch.from_numpy(tokens)).logits.numpy()
    np.testing.assert_allclose(logits_of(config, params, *row(jnp.asarray(tokens))), expected, atol=1e-4)


def test_loss_and_gradients_equal_transformers(transformers_model, published_tensors):
    """The whole backward pass: our loss rule, our linear rule and blocked attention against torch's autograd."""
    import torch

    config = dataclasses.replace(TINY, attention="blocked")
    params = noisy_params(config)
    tokens, positions, segments = row(jax.random.randint(jax.random.key(3), (2, 24), 0, 48))

    def loss(params):
        model = llama.bind(config, params)
        weights = jnp.ones(tokens.shape, jnp.float32)
        return next_token(model(tokens, positions, segments), model.table, tokens, weights, segments, tile=8)[0] / 46

    value, gradients = jax.jit(jax.value_and_grad(loss))(params)
    theirs = transformers_model(config, params)
    ids = torch.tensor(np.asarray(tokens)).long()
    expected = theirs(ids, labels=ids).loss
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    ours = published_tensors(config, gradients)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours[name], parameter.grad.numpy(), atol=1e-5, err_msg=name)


def test_packed_rows_give_the_logits_of_separate_examples():
    params = noisy_params(TINY)
    lengths = (5, 9, 7)
    tokens = jax.random.randint(jax.random.key(2), (1, 24), 0, 48)
    positions = jnp.concatenate([jnp.arange(n) for n in lengths] + [jnp.zeros(3, int)])[None]
    segments = jnp.repeat(jnp.array([1, 2, 3, 0]), jnp.array([*lengths, 3]))[None]
    packed = logits_of(TINY, params, tokens, positions, segments)
    start = 0
    for length in lengths:
        alone = logits_of(TINY, params, *row(tokens[:, start : start + length]))
        np.testing.assert_allclose(packed[:, start : start + length], alone, atol=1e-5)
        start += length


def test_prefill_and_decode_equal_the_full_forward():
    """Ragged prompts, padded with position -1, then single tokens at each row's own position."""
    params = noisy_params(TINY)
    tokens = jax.random.randint(jax.random.key(4), (2, 12), 0, 48)
    full = logits_of(TINY, params, *row(tokens))
    prompts = jnp.array([3, 7])

    @jax.jit
    def extend(tokens, positions, cache):
        model = llama.bind(TINY, params)
        hidden, cache = model.extend(tokens, positions, cache)
        return model.logits(hidden), cache

    places = jnp.broadcast_to(jnp.arange(8), (2, 8))
    prefill, cache = extend(tokens[:, :8], jnp.where(places < prompts[:, None], places, -1), init_cache(TINY, 2, 12))
    for i, length in enumerate(prompts):
        np.testing.assert_allclose(prefill[i, :length], full[i, :length], atol=1e-5)
    for offset in range(5):
        at = prompts + offset
        logits, cache = extend(tokens[jnp.arange(2), at][:, None], at[:, None], cache)
        np.testing.assert_allclose(logits[:, 0], full[jnp.arange(2), at], atol=1e-5)


def test_declarations_describe_the_parameters():
    """Shapes, dtypes and tree of what is initialised are those declared, and norms alone are not decayed."""
    config = dataclasses.replace(TINY, param_dtype="bfloat16")
    params = llama.initialise(config, jax.random.key(0))
    declared = llama.declared(config)
    assert jax.tree.map(jnp.shape, params) == map_declared(lambda d: d.shape, declared)
    assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    decayed = map_declared(lambda d: d.decayed, declared)
    assert not decayed["final_norm"] and not decayed["blocks"]["mlp_norm"] and decayed["embedding"]


@pytest.mark.parametrize("changes", [{"remat": "minimal"}, {"remat": "attention", "unroll": 2}, {"remat": "offload"}])
def test_remat_and_unrolling_change_no_gradient(changes):
    params = noisy_params(TINY)
    arguments = row(jax.random.randint(jax.random.key(5), (1, 16), 0, 48))

    def gradients(config):
        return jax.jit(jax.grad(lambda p: jnp.square(llama.bind(config, p)(*arguments)).sum()))(params)

    changed = gradients(dataclasses.replace(TINY, **changes))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), gradients(TINY), changed)


def test_every_policy_recomputes_what_its_name_says():
    """By the operations of the gradient: minimal keeps all matrix products, full repeats the forward pass."""
    params, arguments = noisy_params(TINY), row(jnp.zeros((1, 64), int))

    def operations(remat):
        config = dataclasses.replace(TINY, remat=remat, layers=TINY.layers, unroll=TINY.layers)
        step = jax.jit(jax.grad(lambda p: llama.bind(config, p)(*arguments).sum()))
        return step.lower(params).compile().cost_analysis()["flops"]

    none, minimal, attention, full = (operations(remat) for remat in ("none", "minimal", "attention", "full"))
    assert minimal < 1.1 * none < 1.1 * attention < 1.1 * full
    assert full > 1.2 * none


def test_offloaded_layer_inputs_wait_in_the_memory_of_the_host():
    params, arguments = noisy_params(TINY), row(jnp.zeros((1, 16), int))

    def program(remat):
        config = dataclasses.replace(TINY, remat=remat)
        return str(jax.make_jaxpr(jax.grad(lambda p: llama.bind(config, p)(*arguments).sum()))(params))

    assert "<host>[1,16,32]" in program("offload") and "<host>" not in program("attention")


def test_bfloat16_compute_keeps_float32_masters():
    config = dataclasses.replace(TINY, compute_dtype="bfloat16")
    params = noisy_params(config)
    arguments = row(jax.random.randint(jax.random.key(6), (1, 16), 0, 48))

    def mean_square(params):
        hidden = llama.bind(config, params)(*arguments)
        return jnp.square(hidden.astype(jnp.float32)).mean(), hidden

    gradients, hidden = jax.jit(jax.grad(mean_square, has_aux=True))(params)
    assert hidden.dtype == jnp.bfloat16
    assert {g.dtype for g in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    exact = jax.jit(lambda p: llama.bind(TINY, p)(*arguments))(params)
    np.testing.assert_allclose(hidden.astype(jnp.float32), exact, atol=0.1)


@pytest.mark.parametrize("tied", [False, True])
def test_extension_keeps_old_rows_and_starts_new_ones_at_their_mean(tied):
    params = noisy_params(dataclasses.replace(TINY, tied=tied))
    larger = extend_vocabulary(params, 60)
    assert ("output" in larger) is not tied
    for name in larger.keys() & {"embedding", "output"}:
        np.testing.assert_array_equal(larger[name][:48], params[name])
        np.testing.assert_allclose(larger[name][48:], np.tile(params[name].mean(0), (12, 1)), rtol=1e-5, atol=1e-8)
    with pytest.raises(CslmError, match="48"):
        extend_vocabulary(params, 40)


@pytest.mark.parametrize(
    "field, value", [("kv_heads", 3), ("head_dim", 7), ("layers", 0), ("remat", "most"), ("attention", "flash")]
)
def test_an_impossible_config_names_its_field(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(TINY, **{field: value})
