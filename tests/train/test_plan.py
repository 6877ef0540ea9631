"""A plan: what is sent by formula, and what the TPU compiler says of a step where its package is installed."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest

from cslm_jax import config as experiments
from cslm_jax.errors import CslmError
from cslm_jax.model.flops import matrix_parameters
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.train import plan_search
from cslm_jax.train.plan import plan
from cslm_jax.train.plan_step import plan_for
from cslm_jax.train.roofline import received
from cslm_jax.train.sharding import MeshConfig

CONFIGS = Path(__file__).parents[2] / "configs"
MODEL = LlamaConfig(
    vocabulary_size=512, width=256, layers=2, heads=4, kv_heads=2, head_dim=64, mlp_width=512, compute_dtype="bfloat16"
)


def experiment(make, tmp_path, model=MODEL, rows=8, length=256):
    config = make(tmp_path, model=model)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, global_batch=rows, row_length=length))


def mesh(**sizes):
    return dict.fromkeys(("data", "fsdp", "context", "tensor"), 1) | sizes


def test_context_gathers_keys_and_values(make_experiment, tmp_path):
    """And splits the weights as fsdp does."""
    config = experiment(make_experiment, tmp_path)
    weights = 0.75 * matrix_parameters(MODEL) * (2 + 2 + 4)
    keys = 2 * (8 * 256) * 2 * 64 * 2
    assert received(config, mesh(context=4)) == weights + 2 * 3 * 0.75 * keys


def test_fsdp_gathers_weights_twice_and_scatters_gradients(make_experiment, tmp_path):
    config = experiment(make_experiment, tmp_path)
    assert received(config, mesh(fsdp=4)) == 0.75 * matrix_parameters(MODEL) * (2 + 2 + 4)
    assert received(config, mesh()) == 0


def test_tensor_sums_activations_and_halves_the_weights(make_experiment, tmp_path):
    config = experiment(make_experiment, tmp_path)
    activations = 8 * 256 / 4 * 256 * 2
    expected = 0.75 * matrix_parameters(MODEL) / 2 * 8 + 4 * 2 * 2 * 0.5 * activations
    assert received(config, mesh(fsdp=4, tensor=2)) == expected


def test_an_unknown_chip_and_a_missing_size_are_told(make_experiment, tmp_path):
    with pytest.raises(CslmError, match="v5e, v5p, v6e"):
        plan(experiment(make_experiment, tmp_path), "cpu:1,v9:2x2")
    with pytest.raises(CslmError, match="topology 'cpu:two' cannot be compiled for .* it needs a shape that exists"):
        plan_for(experiment(make_experiment, tmp_path), "cpu:two")
    unsplit = dataclasses.replace(MODEL, lora=LoraConfig(rank=4))
    with pytest.raises(CslmError, match="--config.model.lora.frozen_rows"):
        plan_for(experiment(make_experiment, tmp_path, unsplit), "cpu:1")
    unsized = dataclasses.replace(MODEL, vocabulary_size=None)
    with pytest.raises(CslmError, match="--config.model.vocabulary_size"):
        plan_for(experiment(make_experiment, tmp_path, unsized), "cpu:1")


def test_a_topology_that_fails_does_not_take_the_others_with_it(make_experiment, tmp_path, capsys, caplog):
    """The figures of the first are kept, and the call still fails."""
    config = experiment(make_experiment, tmp_path, rows=8)
    config = dataclasses.replace(config, mesh=MeshConfig(fsdp=2))
    with pytest.raises(CslmError, match="1 of 2 topologies"):
        plan(config, "cpu:2,cpu:4", json=str(tmp_path / "plan.json"))
    (found,) = json.loads((tmp_path / "plan.json").read_text())
    assert found["topology"] == "cpu:2" and found["fits"] and found["mesh"]["fsdp"] == 2
    assert found["step_seconds_estimate"] is None, "no maker publishes the speed of this processor"
    assert "does not match 4 devices" in caplog.text and "cpu:2" in capsys.readouterr().out


@pytest.mark.parametrize(("layers", "fits"), [(2, True), (12_000, False)])
def test_the_compiler_says_whether_a_step_fits(make_experiment, tmp_path, capsys, layers, fits):
    pytest.importorskip("libtpu")
    model = dataclasses.replace(MODEL, layers=layers, remat="full")
    plan(experiment(make_experiment, tmp_path, model), "v5e:2x2", json=str(tmp_path / "plan.json"))
    (found,) = json.loads((tmp_path / "plan.json").read_text())
    assert found["fits"] is fits and found["chips"] == 4 and found["mesh"]["fsdp"] == 4
    assert ("yes" if fits else "NO") in capsys.readouterr().out
    assert fits or "exceeds available HBM (15.75G)" in found["problem"]
    if fits:
        assert 0 < found["arguments_gib_per_chip"] < found["peak_gib_per_chip"] < 1


@pytest.fixture
def search(make_experiment, tmp_path, monkeypatch):
    """Function of whether a way fits: what a search over four devices that form no mesh with context finds, what it compiled."""

    def make_mesh(sizes, *arguments, **options):
        if sizes[2] > 1:
            raise NotImplementedError("no assignment to the torus")

    def run(fits, **data):
        config = experiment(make_experiment, tmp_path)
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, **data))
        found = list(plan_search.candidates(config, "v5e:2x2", jax.devices()[:4]))
        tried = []
        for candidate in plan_search.by_promise(found):
            candidate.fits = fits(candidate.config)
            tried.append(candidate.config)
        return found, tried

    monkeypatch.setattr(jax, "make_mesh", make_mesh)
    return run


def test_a_search_begins_with_the_fastest_and_takes_one_of_each_mesh(search):
    found, tried = search(lambda config: True)
    assert tried[0].model.remat in ("none", "minimal") and tried[0].train.accumulate == 1
    ways = [(config.mesh, config.train.accumulate) for config in tried]
    assert len(set(ways)) == len(ways) < len(found)
    assert {config.mesh.tensor for config in tried} == {1, 2}, "two kv heads cannot be split four ways"
    assert {config.mesh.context for config in tried} == {1}, "the devices form no other mesh"


def test_a_search_tries_every_number_of_micro_batches(search):
    _, tried = search(lambda config: config.train.accumulate in (9, 18), global_batch=36)
    assert {9, 18} <= {config.train.accumulate for config in tried}


def test_what_needs_more_than_what_did_not_fit_is_left_out(search):
    found, tried = search(lambda config: False)
    assert {config.model.remat for config in tried} >= {"offload", "full"}, "which of them needs more, the compiler must say"
    once = [config for config in tried if config.mesh == tried[0].mesh and config.train.accumulate == 1]
    assert 0 < len(once) <= 5 and len(tried) < len(found)


def test_what_stays_on_the_chip_is_more_than_it_has(search):
    """By the lower bound, without compiling: a row of 16 million positions."""
    _, tried = search(lambda config: True, row_length=2**24)
    assert "none" not in {config.model.remat for config in tried if config.train.accumulate == 1}


@pytest.mark.parametrize(
    ("name", "rows", "length", "rate"),
    [
        ("llama31_8b_cpt", 288, 2048, 6e-5),
        ("llama32_1b_cpt", 288, 2048, 6e-5),
        ("llama31_8b_sft", 48, 4096, 1e-5),
        ("llama32_1b_sft", 48, 4096, 1e-5),
    ],
)
def test_the_shipped_configs_are_the_papers(name, rows, length, rate):
    config = experiments.load(CONFIGS / f"{name}.py")
    assert config.data.global_batch == rows and config.data.row_length == length
    assert config.optimizer.learning_rate == rate and config.optimizer.weight_decay == 0
    tokens = {"cslm_cpt_paper": 10e9, "cslm_sft_paper": 0.5e9}[config.data.mixture]
    assert config.train.steps * rows * length == pytest.approx(tokens, rel=1e-3)


@pytest.mark.parametrize("size", ["llama31_8b", "llama32_1b"])
def test_the_second_stage_goes_on_from_the_first(size):
    cpt, sft = (experiments.load(CONFIGS / f"{size}_{stage}.py") for stage in ("cpt", "sft"))
    assert sft.train.init_from == cpt.workdir and sft.model == cpt.model and sft.data.vocabulary == cpt.data.vocabulary
