"""A run that needs no prepared data: a small vocabulary and synthetic batches."""

import json
from pathlib import Path

import jax
import pytest

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.text.sentencepiece import SentencePieceText
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig
from cslm_jax.vocabulary import JointVocabulary


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """The tests of the loop start the same run many times; this way it is compiled once, for subprocesses too."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla")),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name.upper(), str(value))
            jax.config.update(name, value)
        yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def tiny_model() -> LlamaConfig:
    return LlamaConfig(width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=16, attention="reference")


@pytest.fixture(scope="session")
def vocabulary_directory(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("vocabulary")
    text = SentencePieceText.train(["the cat sat on the mat", "a dog ran over there"] * 20, 300)
    JointVocabulary(text, codes=64, pad_to=32).save(directory)
    return directory


@pytest.fixture
def make_experiment(vocabulary_directory, tiny_model):
    def make(workdir, model=tiny_model, optimizer=OptimizerConfig(learning_rate=1e-2), **train) -> Experiment:
        data = DataConfig(synthetic=True, vocabulary=str(vocabulary_directory), row_length=16, global_batch=8)
        options = TrainConfig(**({"tensorboard": False} | train))
        return Experiment("test", str(workdir), data=data, model=model, optimizer=optimizer, train=options)

    return make


@pytest.fixture
def read_metrics():
    def read(workdir) -> list[dict]:
        """Lines of metrics.jsonl without the figures that depend on the clock."""
        lines = [json.loads(line) for line in (Path(workdir) / "metrics.jsonl").read_text().splitlines()]
        return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]

    return read
