"""A run takes over the model it begins from: other adapters or none, a larger vocabulary, the same logits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cslm_jax.errors import CslmError
from cslm_jax.model import llama
from cslm_jax.model.lora import LoraConfig
from cslm_jax.model.parameters import map_declared
from cslm_jax.train.checkpoint import Origin
from cslm_jax.train.compatibility import check_resume, check_start
from cslm_jax.train.transfer import transferred

OLD, NEW = 40, 56
"""Rows of the token tables before and after."""


@pytest.fixture
def model(tiny_model):
    """Function of the rows and a LoRA rank: the model."""

    def make(rows, rank=0, alpha=4.0, **changes):
        lora = LoraConfig(rank=rank, alpha=alpha, frozen_rows=OLD if rank else None)
        return dataclasses.replace(tiny_model, vocabulary_size=rows, lora=lora, **changes)

    return make


def random_params(config):
    """With adapters that change something."""
    rng = np.random.default_rng(0)
    return map_declared(lambda d: jnp.asarray((d.stddev or 0.3) * rng.normal(size=d.shape), d.dtype), llama.declared(config))


def logits_of(config, params):
    tokens = np.random.default_rng(1).integers(0, OLD, (2, 12))
    positions = np.broadcast_to(np.arange(12), tokens.shape)
    bound = llama.bind(config, params)
    return np.asarray(bound.logits(bound(tokens, positions, np.ones_like(tokens))))


@pytest.mark.parametrize("tied", [False, True])
def test_a_full_run_gets_adapters_and_a_larger_vocabulary(model, tied):
    old, new = model(OLD, tied=tied), model(NEW, rank=2, tied=tied)
    before = random_params(old)
    after = transferred(before, old, new, jax.random.key(0))
    np.testing.assert_allclose(logits_of(new, after)[..., :OLD], logits_of(old, before), atol=1e-5)
    np.testing.assert_array_equal(after["embedding"], before["embedding"])
    np.testing.assert_allclose(after["new_embedding"], np.tile(before["embedding"].mean(0), (NEW - OLD, 1)), atol=1e-6)


def test_adapters_and_new_rows_go_on(model):
    config = model(NEW, rank=2)
    before = random_params(config)
    jax.tree.map(np.testing.assert_array_equal, transferred(before, config, config, jax.random.key(0)), before)


def test_adapters_are_merged_into_a_full_run(model):
    old, new = model(NEW, rank=2), model(NEW)
    before = random_params(old)
    after = transferred(before, old, new, jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(random_params(new))
    np.testing.assert_allclose(logits_of(new, after), logits_of(old, before), rtol=1e-4, atol=1e-4)


def test_frozen_weights_become_bfloat16_and_trained_ones_stay_float32(model):
    old, new = model(OLD), model(NEW, rank=2, param_dtype="bfloat16")
    after = transferred(random_params(old), old, new, jax.random.key(0))
    assert {after[name].dtype.name for name in ("embedding", "final_norm")} == {"bfloat16"}
    assert after["new_embedding"].dtype == after["blocks"]["mlp"]["up_lora"]["a"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 3}, "model.lora.rank is 3, .* has 2; make them equal, or set model.lora.rank=0"),
        ({"rank": 2, "alpha": 8.0}, "model.lora.alpha is 8.0, .* has 4.0; make them equal"),
        ({"rank": 2, "mlp_width": 24}, "model.mlp_width is 24, .* has 16; make them equal$"),
        ({"rank": 0, "mlp_width": 24}, "model.mlp_width is 24, .* has 16; make them equal$"),
    ],
)
def test_adapters_that_could_not_go_on_are_told(model, changes, said):
    origin = Origin({"model": dataclasses.asdict(model(NEW, rank=2))}, "")
    with pytest.raises(CslmError, match=said):
        check_start(origin, model(NEW, **changes), "", "runs/cpt")


def test_a_checkpoint_from_before_there_was_lora_is_a_full_one(model):
    full, adapted = ({"model": dataclasses.asdict(model(NEW, rank))} for rank in (0, 2))
    older = {"model": {name: value for name, value in full["model"].items() if name != "lora"}}
    check_resume(Origin(older, ""), full, "", "runs/cpt")
    check_start(Origin(older, ""), model(NEW, 2), "", "runs/cpt")
    with pytest.raises(CslmError, match="config.model.lora.rank is 2, .* were made with 0"):
        check_resume(Origin(older, ""), adapted, "", "runs/cpt")
