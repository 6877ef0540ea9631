"""The command line: a mistake ends with a message that names the nearest right thing, never with a traceback."""

import inspect
from pathlib import Path

import pytest

from cslm_jax import cli
from cslm_jax import config as experiments
from cslm_jax.config import Experiment
from cslm_jax.data.catalogue import all_weights, tasks

CONFIG = f"--config={Path(__file__).parents[1] / 'configs' / 'miniature_cpt.py'}"


def run(capsys, *words: str) -> tuple[int, str]:
    """Exit code and everything that was printed."""
    try:
        code = cli.main(list(words))
    except SystemExit as leaving:
        code = leaving.code
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_without_arguments_every_command_is_listed(capsys):
    code, said = run(capsys)
    assert code == 0 and all(name in said for name in cli.COMMANDS)


def config_of(monkeypatch, *words: str):
    """The config that a command gets to see."""
    seen = []

    def record(config: Experiment) -> None:
        seen.append(config)

    monkeypatch.setattr(cli, "_command", lambda name: record)
    assert cli.main(["train", *words]) == 0
    return seen[0]


@pytest.mark.parametrize(
    ("words", "mixture", "languages"),
    [
        (("--config.data.mixture=cslm_sft",), "cslm_sft", ("en", "zh")),
        (("--config.data.mixture", "cslm_sft", "--config.data.languages", "en"), "cslm_sft", ("en",)),
        (("--config.data.languages=en",), "cslm_cpt", ("en",)),
        (("--config.data.languages", "en", "fr", "zh", "--config.name=two words"), "cslm_cpt", ("en", "fr", "zh")),
    ],
)
def test_mixture_and_languages_decide_the_weights(monkeypatch, words, mixture, languages):
    """A file writes its weights for its own mixture; those of tasks that are left stay."""
    data = config_of(monkeypatch, CONFIG, *words).data
    assert (data.mixture, data.languages) == (mixture, languages) and set(data.weights) == set(tasks(languages))
    if mixture == "cslm_sft":
        assert data.weights == all_weights("cslm_sft", languages)
    else:
        assert data.weights["asr_en"] == config_of(monkeypatch, CONFIG).data.weights["asr_en"]


def test_a_file_behind_the_config_is_not_taken_for_a_second_config():
    """`cslm units --config C FILE` without an equals sign."""
    assert cli._take_choices(["--config", "c.py", "a.wav", "--config.data.languages", "en", "fr"]) == (
        {"--config": ["c.py"], "--config.data.languages": ["en", "fr"]},
        ["a.wav"],
    )


def test_weights_of_the_chosen_mixture_and_languages_are_flags(monkeypatch):
    words = ("--config.data.mixture=cslm_sft", "--config.data.languages", "en", "fr", "--config.data.weights.s2s_fr_en=0.7")
    assert config_of(monkeypatch, CONFIG, *words).data.weights["s2s_fr_en"] == 0.7


def test_adapters_are_switched_on_and_off_by_one_flag(monkeypatch, tmp_path):
    adapted = config_of(monkeypatch, CONFIG, "--config.model.lora.rank=16")
    assert adapted.model.lora.rank == 16
    experiments.save(adapted, tmp_path)
    assert config_of(monkeypatch, f"--config={tmp_path / 'config.json'}", "--config.model.lora.rank=0").model.lora.rank == 0


def test_the_config_that_a_run_wrote_is_a_config(monkeypatch, tmp_path):
    before = config_of(monkeypatch, CONFIG, "--config.data.weights.asr_en=0.9")
    experiments.save(before, tmp_path)
    assert config_of(monkeypatch, f"--config={tmp_path / 'config.json'}") == before


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_exists_and_has_help(capsys, name):
    takes_config = "config" in inspect.signature(cli._command(name)).parameters
    code, said = run(capsys, *name.split(), *([CONFIG] if takes_config else []), "--help")
    assert code == 0 and f"usage: cslm {name}" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trian",), "Did you mean `train`?"),
        (("train",), "needs a config"),
        (("train", "--config=nowhere.py"), "no config file nowhere.py"),
        (("respond", "--config=x.py"), "takes no --config"),
        (("respond", "--config.data.mixture=cslm_sft"), "takes no --config"),
        (("train", CONFIG, "--config.train.stepz=5"), "--config.train.steps"),
        (("train", CONFIG, "--config.train.steps=many"), "--config.train.steps"),
        (("train", CONFIG, "--config.data.response_form=fill"), "'full'"),
        (("train", CONFIG, "--config.data.weights.mt_en=0.3"), "--config.data.weights.mt_en_zh"),
        (("train", CONFIG, "--config.train.steps=0"), "at least 1"),
        (("train", CONFIG, "--config.data.mixture=cslm_stf"), "Did you mean 'cslm_sft'"),
        (("train", CONFIG, "--config.data.languages", "en", "en"), "data.languages is ('en', 'en')"),
        (("train", "--config"), "needs a config"),
    ],
)
def test_mistakes_name_the_field_and_what_was_meant(capsys, words, message):
    code, said = run(capsys, *words)
    assert code == 2
    assert message in "".join(said.split("\n")) or message in said


@pytest.mark.parametrize(("value", "synthetic"), [("", True), ("=true", True), ("=False", False)])
def test_a_switch_takes_a_value_like_every_field(monkeypatch, value, synthetic):
    assert config_of(monkeypatch, CONFIG, f"--config.data.synthetic{value}").data.synthetic is synthetic


def test_a_switch_is_true_or_false(capsys):
    code, said = run(capsys, "train", CONFIG, "--config.data.synthetic=perhaps")
    assert code == 2 and "true or false, not perhaps" in said
