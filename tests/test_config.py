"""Experiments: files, overrides, and the JSON that a run leaves behind."""

import dataclasses
import functools
import json
import re
import shlex
from pathlib import Path

import pytest

from cslm_jax import cli
from cslm_jax import config as experiments
from cslm_jax.data.catalogue import all_weights
from cslm_jax.errors import CslmError

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_survives_json(path):
    config = experiments.load(path)
    tree = json.loads(json.dumps(experiments.to_dict(config)))
    assert experiments.from_dict(tree) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_says_its_command(path):
    assert f"--config=configs/{path.name}" in path.read_text().split('"""')[1]


def test_a_run_gives_back_the_experiment_it_was_started_with(tmp_path):
    config = dataclasses.replace(experiments.load(CONFIGS[0]), workdir=str(tmp_path))
    experiments.save(config, tmp_path)
    assert experiments.load_run(tmp_path) == config


def test_every_task_has_its_weight_written_out():
    weights = experiments.load(CONFIGS[0]).data.weights
    assert weights["mt_en_zh"] > 0 and weights["s2s_en_zh"] == 0


def test_another_language_shares_what_the_file_has_not_decided(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from cslm_jax.config import Experiment\nfrom cslm_jax.data.config import DataConfig\n"
        "def get_config():\n    return Experiment('mine', 'work', data=DataConfig(weights={'asr_en': 0.9, 'asr_zh': 0.8}))"
    )
    weights = experiments.load(path, languages=("en", "fr")).data.weights
    assert weights == all_weights("cslm_cpt", ("en", "fr"), {"asr_en": 0.9})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def get_config():\n    return 3", "must return a cslm_jax.config.Experiment, not int"),
        ("def get_confg():\n    pass", "get_config"),
        (
            "from cslm_jax.data.config import DataConfig\ndef get_config():\n    DataConfig(row_length=0)",
            "line 3: data.row_length",
        ),
        (
            "from cslm_jax.data.config import DataConfig\ndef get_config():\n    DataConfig(chunk_sise=4)",
            "line 3: DataConfig has no field 'chunk_sise'. Did you mean 'chunk_size'",
        ),
        (
            "import dataclasses\nfrom cslm_jax.miniature.defaults import experiment\n"
            "def get_config():\n    return dataclasses.replace(experiment('cpt', 5, 1e-3).data.prepare, proceses=1)",
            "line 4: PrepareConfig has no field 'proceses'. Did you mean 'processes'",
        ),
        ("x = 1\ndef get_config(:", "line 2: syntax error"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def get_config():\n    return steps", "line 2: NameError"),
    ],
)
def test_a_broken_config_file_is_named(tmp_path, source, message):
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises(CslmError, match=message) as caught:
        experiments.load(path)
    assert "broken.py" in str(caught.value)


def test_an_unknown_field_in_a_saved_config_is_named(tmp_path):
    tree = experiments.to_dict(experiments.load(CONFIGS[0]))
    tree["train"]["stepz"] = 3
    with pytest.raises(CslmError, match="no field 'stepz'. Did you mean 'steps'.*config.train"):
        experiments.from_dict(tree)


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"name": "x", "workdir": "y", "train": 3}', '{"name": "x"}'])
def test_a_broken_config_json_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    for load in (experiments.load_run, lambda directory: experiments.load(directory / "config.json")):
        with pytest.raises(CslmError, match="config.json"):
            load(tmp_path)


def test_a_directory_that_is_no_run_is_named(tmp_path):
    with pytest.raises(CslmError, match="not the workdir of a run"):
        experiments.load_run(tmp_path)


def test_a_settled_experiment_has_its_one_corpus_and_its_folders():
    loaded = experiments.load(CONFIGS[0].with_name("corpus_manifest.py"))
    chosen = dataclasses.replace(loaded, workdir="w", corpus=dataclasses.replace(loaded.corpus, path="p"))
    settled = experiments.settle(chosen)
    assert [corpus.path for corpus in settled.corpora] == ["p"] and settled.corpus is None
    assert (settled.data.records, settled.data.cache) == ("w/records", "w/cache")
    assert experiments.settle(settled) == settled


def _commands(docstring: str) -> list[list[str]]:
    """The cslm commands of a docstring, without the variables that are set before them."""
    lines = docstring.replace("\\\n", " ").splitlines()
    return [shlex.split(line[line.index("cslm ") :])[1:] for line in lines if re.match(r"    (\w+=\S+ )*cslm ", line)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_command_of_a_config_is_one(path, monkeypatch):
    """A mistyped flag or config in a docstring would be the first thing that a newcomer meets."""
    monkeypatch.chdir(path.parents[1])
    real = cli._command
    monkeypatch.setattr(cli, "_command", lambda name: functools.wraps(real(name))(lambda *_, **__: None))
    for words in _commands(path.read_text(encoding="utf-8").split('"""')[1]):
        assert cli.main(words) == 0, words
