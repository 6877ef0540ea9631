"""Runs with adapters: they resume bit for bit, go on in the next stage, and end as ordinary Llamas."""

import dataclasses

import jax
import numpy as np
import pytest

from cslm_jax import config as experiments
from cslm_jax.errors import CslmError
from cslm_jax.model import llama
from cslm_jax.model.lora import LoraConfig
from cslm_jax.train import interrupt
from cslm_jax.train.checkpoint import read_model
from cslm_jax.train.convert import to_hf
from cslm_jax.train.loop import train

TEXT, IDS, ROWS = 304, 304 + 64 + 4, 384
"""Rows of the token tables: text pieces, all ids, with padding."""
STEPS = 4


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    return tmp_path_factory.mktemp("lora")


@pytest.fixture
def adapted(make_experiment, tiny_model, workdirs):
    """Function of a name: stage 1 with adapters, from the text model."""
    if not (workdirs / "text").exists():
        train(make_experiment(workdirs / "text", steps=1, vocabulary="text"))
    model = dataclasses.replace(tiny_model, lora=LoraConfig(rank=2, alpha=4.0))

    def make(name, model=model, before="text", steps=STEPS):
        return make_experiment(workdirs / name, model=model, steps=steps, init_from=str(workdirs / before))

    return make


@pytest.fixture
def cpt(adapted, workdirs):
    """A run of stage 1, read."""
    if not (workdirs / "cpt").exists():
        train(adapted("cpt"))
    return read_model(workdirs / "cpt")


def test_a_run_trains_adapters_and_new_rows_only(cpt, workdirs):
    text, blocks = read_model(workdirs / "text"), cpt.params["blocks"]
    for name in ("embedding", "output"):
        np.testing.assert_array_equal(cpt.params[name], text.params[name])
        assert cpt.params[f"new_{name}"].shape == (ROWS - TEXT, 16)
    np.testing.assert_array_equal(blocks["attention"]["query"], text.params["blocks"]["attention"]["query"])
    np.testing.assert_array_equal(blocks["mlp_norm"], text.params["blocks"]["mlp_norm"])
    assert np.abs(blocks["mlp"]["up_lora"]["b"]).min() > 0
    assert experiments.load_run(workdirs / "cpt").model.lora.frozen_rows == TEXT


def test_a_stopped_run_ends_with_the_losses_of_a_whole_one(adapted, cpt, workdirs, read_metrics, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(interrupt.Interrupt, "asked", lambda self, taken: taken >= 2)
        with pytest.raises(SystemExit, match="143"):
            train(adapted("stopped"))
    train(adapted("stopped"))
    assert read_metrics(workdirs / "stopped") == read_metrics(workdirs / "cpt")
    jax.tree.map(np.testing.assert_array_equal, read_model(workdirs / "stopped").params, cpt.params)


def test_the_next_stage_begins_with_the_adapters_of_the_one_before(adapted, cpt, workdirs):
    """The first step's learning rate moves them by 1e-2 at most; afresh, B would be zero and A another draw."""
    train(adapted("sft", before="cpt", steps=1))
    sft = read_model(workdirs / "sft").params
    for half in "ab":
        before, after = (params["blocks"]["mlp"]["up_lora"][half] for params in (cpt.params, sft))
        np.testing.assert_allclose(after, before, atol=1.01e-2)
    np.testing.assert_array_equal(sft["embedding"], cpt.params["embedding"])


def test_an_exported_run_has_its_logits_in_transformers(cpt, workdirs, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    to_hf(str(workdirs / "cpt"), str(tmp_path / "hf"), shard_gib=1e-5)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "hf")
    assert theirs.config.vocab_size == IDS
    tokens = np.random.default_rng(0).integers(0, IDS, (2, 12))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(tokens)).logits.numpy()
    bound = llama.bind(cpt.config, cpt.params)
    ours = bound.logits(bound(tokens, np.broadcast_to(np.arange(12), tokens.shape), np.ones_like(tokens)))
    np.testing.assert_allclose(ours[..., :IDS], expected, atol=1e-4)


def test_a_vocabulary_without_new_ids_has_nothing_to_train(make_experiment, tiny_model, tmp_path):
    model = dataclasses.replace(tiny_model, lora=LoraConfig(rank=2))
    with pytest.raises(CslmError, match="frozen_rows=304 leaves none of the vocabulary's 304 ids"):
        train(make_experiment(tmp_path, model=model, vocabulary="text"))
