"""The command line: a mistake ends with a message that names the nearest right thing, never with a traceback."""

from pathlib import Path

import pytest

from cslm_jax import cli

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


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_exists_and_has_help(capsys, name):
    takes_config = name not in ("quickstart", "respond")
    code, said = run(capsys, name, *([CONFIG] if takes_config else []), "--help")
    assert code == 0 and f"usage: cslm {name}" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trian",), "Did you mean `train`?"),
        (("train",), "needs a config"),
        (("train", "--config=nowhere.py"), "no config file nowhere.py"),
        (("respond", "--config=x.py"), "takes no --config"),
        (("train", CONFIG, "--config.train.stepz=5"), "--config.train.steps"),
        (("train", CONFIG, "--config.train.steps=many"), "--config.train.steps"),
        (("train", CONFIG, "--config.data.response_form=fill"), "'full'"),
        (("train", CONFIG, "--config.data.weights.mt_en=0.3"), "--config.data.weights.mt_en_zh"),
        (("train", CONFIG, "--config.train.steps=0"), "at least 1"),
    ],
)
def test_mistakes_name_the_field_and_what_was_meant(capsys, words, message):
    code, said = run(capsys, *words)
    assert code == 2
    assert message in "".join(said.split("\n")) or message in said
