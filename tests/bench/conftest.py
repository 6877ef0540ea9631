"""An experiment that has nothing: no data, no vocabulary, no run to begin from."""

import json
from pathlib import Path

import pytest

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.train.config import TrainConfig


@pytest.fixture
def bare(tmp_path) -> Experiment:
    model = LlamaConfig(vocabulary_size=64, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp_width=16)
    data = DataConfig(
        synthetic=True, vocabulary=str(tmp_path / "none"), cache=str(tmp_path / "none"), row_length=32, global_batch=8
    )
    return Experiment("bare", str(tmp_path / "run"), data=data, model=model, train=TrainConfig(init_from="none", loss_tile=8))


@pytest.fixture
def measure(tmp_path):
    """Runs a benchmark and gives what it wrote, after a look at what all of them write."""

    def run(bench, config: Experiment, **options) -> list[dict]:
        path = tmp_path / "bench.json"
        bench(config, json=str(path), **options)
        written = json.loads(Path(path).read_text())
        assert written["machine"] and written["config"]["model"]["width"] == 16
        return written["results"]

    return run
