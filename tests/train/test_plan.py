"""A plan: what is sent by formula, and what the TPU compiler says of a step where its package is installed."""

import dataclasses
import json
from pathlib import Path

import pytest

from cslm_jax import config as experiments
from cslm_jax.errors import CslmError
from cslm_jax.model.flops import matrix_parameters
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.train.plan import plan, received

CONFIGS = Path(__file__).parents[2] / "configs"
MODEL = LlamaConfig(
    vocabulary_size=512, width=256, layers=2, heads=4, kv_heads=2, head_dim=64, mlp_width=512, compute_dtype="bfloat16"
)


def experiment(make, tmp_path, model=MODEL, rows=8, length=256):
    config = make(tmp_path, model=model)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, global_batch=rows, row_length=length))


def test_fsdp_gathers_weights_twice_and_scatters_gradients(make_experiment, tmp_path):
    config = experiment(make_experiment, tmp_path)
    mesh = {"data": 1, "fsdp": 4, "tensor": 1}
    assert received(config, mesh) == 0.75 * matrix_parameters(MODEL) * (2 + 2 + 4)
    assert received(config, {"data": 1, "fsdp": 1, "tensor": 1}) == 0


def test_tensor_sums_activations_and_halves_the_weights(make_experiment, tmp_path):
    config = experiment(make_experiment, tmp_path)
    activations = 8 * 256 / 4 * 256 * 2
    expected = 0.75 * matrix_parameters(MODEL) / 2 * 8 + 4 * 2 * 2 * 0.5 * activations
    assert received(config, {"data": 1, "fsdp": 4, "tensor": 2}) == expected


def test_an_unknown_chip_and_a_missing_size_are_told(make_experiment, tmp_path):
    with pytest.raises(CslmError, match="v5e, v5p, v6e"):
        plan(experiment(make_experiment, tmp_path), "v9:2x2")
    unsplit = dataclasses.replace(MODEL, lora=LoraConfig(rank=4))
    with pytest.raises(CslmError, match="--config.model.lora.frozen_rows"):
        plan(experiment(make_experiment, tmp_path, unsplit), "v5e:2x2")
    unsized = dataclasses.replace(MODEL, vocabulary_size=None)
    with pytest.raises(CslmError, match="--config.model.vocabulary_size"):
        plan(experiment(make_experiment, tmp_path, unsized), "v5e:2x2")


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
    tokens = {"cslm_cpt": 10e9, "cslm_sft": 0.5e9}[config.data.mixture]
    assert config.train.steps * rows * length == pytest.approx(tokens, rel=1e-3)


@pytest.mark.parametrize("size", ["llama31_8b", "llama32_1b"])
def test_the_second_stage_goes_on_from_the_first(size):
    cpt, sft = (experiments.load(CONFIGS / f"{size}_{stage}.py") for stage in ("cpt", "sft"))
    assert sft.train.init_from == cpt.workdir and sft.model == cpt.model and sft.data.vocabulary == cpt.data.vocabulary
