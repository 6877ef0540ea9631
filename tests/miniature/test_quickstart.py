"""The whole method with a handful of steps: every stage starts, hands over to the next, and is not repeated.

What the stages learn is not looked at here; `make quickstart` itself does that.
"""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from cslm_jax.errors import CslmError
from cslm_jax.miniature import quickstart as stages
from cslm_jax.miniature.quickstart import RUNS, STAGES, quickstart

CONFIG = '''
"""cslm train --config=configs/{name}"""
import dataclasses
from cslm_jax.miniature.defaults import experiment

change = dataclasses.replace

def get_config():
    config = experiment("{run}", steps=2, learning_rate=1e-3)
    tokenizer, decoder = config.tokenizer, config.decoder
    return change(
        config,
        corpora=tuple(change(corpus, limit=40) for corpus in config.corpora),
        tokenizer=change(tokenizer, utterances=12, batch_seconds=16.0, buckets=1, fit=change(tokenizer.fit, steps=2)),
        decoder=change(
            decoder, utterances=4, duration_fit=change(decoder.duration_fit, steps=1), mel_fit=change(decoder.mel_fit, steps=1)
        ),
        data=change(config.data, global_batch=8, prepare=change(config.data.prepare, processes=1)),
        sampling=change(config.sampling, max_new_tokens=8),
        evaluate=change(config.evaluate, asr=1, tts=1, recogniser=1, s2s=1, similarity=2, samples=1, batch=2),
    )
'''


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("configs")
    for run in RUNS:
        (directory / f"miniature_{run}.py").write_text(CONFIG.format(name=f"miniature_{run}.py", run=run))
    return directory


@pytest.fixture(scope="module")
def workdir(configs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("quickstart")
    quickstart(str(directory), str(configs))
    return directory


def test_the_report_has_every_key_that_others_script_against(workdir):
    report = json.loads((workdir / "report" / "report.json").read_text())
    for measure in ("asr", "tts", "recogniser"):
        assert {"wer_en", "cer_zh"} <= set(report[measure])
        assert report[measure]["n_en"] == report[measure]["n_zh"] == 1
    for direction in ("en_en", "zh_zh", "en_zh", "zh_en"):
        assert {"answer_accuracy", "asr_er", "off_target_text"} <= set(report["s2s"][direction])
        assert report["s2s"][direction]["n"] == 1
    assert {"parallel", "random"} <= set(report["similarity"]) and report["similarity"]["n"] >= 2
    assert report["wall_seconds"] > 0 and report["peak_memory_gib"] > 0
    html = (workdir / "report" / "report.html").read_text()
    assert "data:image/svg+xml" in html and "http" not in html.replace("http://www.w3.org", "")


def test_the_same_command_again_repeats_no_stage(workdir, configs, capfd):
    before = (workdir / "stages.json").read_text()
    quickstart(str(workdir), str(configs))
    assert capfd.readouterr().out.count("done before") == len(STAGES)
    assert (workdir / "stages.json").read_text() == before


def test_a_stage_that_fails_says_which_and_how_to_go_on(tmp_path):
    with pytest.raises(CslmError, match="stage vocabulary .* run the same command"):
        quickstart(str(tmp_path / "run"), str(tmp_path / "no_configs"))
    assert not json.loads((tmp_path / "run" / "stages.json").read_text())["vocabulary"]["finished"]


@pytest.fixture
def done(tmp_path, monkeypatch) -> list[str]:
    """Stages that were run, in their order; each only leaves its products in tmp_path."""
    names = []

    def run(words: list[str], name: str) -> None:
        names.append(name)
        for product in STAGES[name].products if name in STAGES else ():
            (tmp_path / product).mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(stages, "_run", run)
    return names


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_whose_product_is_gone_is_done_again(tmp_path, done, name):
    quickstart(str(tmp_path))
    for product in STAGES[name].products:
        shutil.rmtree(tmp_path / product)
        done.clear()
        quickstart(str(tmp_path))
        assert done == [name, "report"]


def test_a_damaged_journal_is_named(tmp_path, done):
    (tmp_path / "stages.json").write_text('{"vocabulary"')
    with pytest.raises(CslmError, match="stages.json is truncated or corrupted.*delete this file"):
        quickstart(str(tmp_path))
    assert not done and Path(tmp_path / "stages.json").exists()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (3, r"ended with exit code 3 \(its message"),
        (-signal.SIGKILL, "was killed by .*signal 9 .*memory"),
        (-signal.SIGSEGV, "was killed by .*signal 11;"),
    ],
)
def test_a_stage_that_was_killed_says_so(tmp_path, monkeypatch, code, says):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code))
    with pytest.raises(CslmError, match=f"stage vocabulary {says}"):
        quickstart(str(tmp_path))
