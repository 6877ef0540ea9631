"""Operations a token: published figures, and what XLA counts for the same layers."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from cslm_jax.model import llama
from cslm_jax.model.flops import matrix_parameters, training_flops
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.model.loss import next_token
from cslm_jax.model.parameters import join, split
from cslm_jax.model.published import LLAMA31_8B, LLAMA32_1B


@pytest.mark.parametrize(("model", "published"), [(LLAMA31_8B, 8_030_261_248), (LLAMA32_1B, 1_235_814_400)])
def test_parameters_are_the_published_ones(model, published):
    """The norms, and an embedding that is only looked up, multiply nothing."""
    model = dataclasses.replace(model, vocabulary_size=128256)
    embedding = 0 if model.tied else 128256 * model.width
    norms = (2 * model.layers + 1) * model.width
    assert matrix_parameters(model) + embedding + norms == published


def test_conventions_differ_by_half_of_the_scores():
    model = dataclasses.replace(LLAMA31_8B, vocabulary_size=128256)
    full, causal = (training_flops(model, 8192, causal) for causal in (False, True))
    assert full - causal == pytest.approx(6 * 32 * 4096 * 8192)


CONFIG = LlamaConfig(
    vocabulary_size=256, width=64, layers=2, heads=4, kv_heads=2, head_dim=16, mlp_width=128, attention="reference", unroll=2
)


def test_the_forward_pass_is_a_third_of_what_xla_counts():
    config = CONFIG
    tokens = jnp.zeros((2, 64), jnp.int32)
    params = jax.eval_shape(lambda key: llama.initialise(config, key), jax.random.key(0))

    def forward(params):
        model = llama.bind(config, params)
        return model.logits(model(tokens, tokens, tokens + 1))

    counted = jax.jit(forward).lower(params).cost_analysis()["flops"]
    assert counted == pytest.approx(tokens.size * training_flops(config, 64, causal=False) / 3, rel=0.1)


@pytest.mark.parametrize("lora", [LoraConfig(), LoraConfig(rank=4, frozen_rows=192)], ids=["full", "lora"])
def test_a_steps_gradients_cost_what_xla_counts(lora):
    """Under LoRA XLA finds a fifth less to do here: the gradients of frozen weights are not computed."""
    config = dataclasses.replace(CONFIG, lora=lora)
    tokens = jnp.zeros((2, 64), jnp.int32)
    params = jax.eval_shape(lambda key: llama.initialise(config, key), jax.random.key(0))

    def loss(trained, frozen):
        model = llama.bind(config, join(trained, frozen))
        hidden = model(tokens, tokens, tokens + 1)
        return next_token(hidden, model.table, tokens, tokens + 1.0, tokens + 1, frozen=model.frozen_table)[0]

    counted = jax.jit(jax.grad(loss)).lower(*split(params, llama.declared(config))).compile().cost_analysis()["flops"]
    assert counted == pytest.approx(tokens.size * training_flops(config, 64, causal=False), rel=0.1)
