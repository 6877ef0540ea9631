"""The whole method with a handful of steps: every stage starts, hands over to the next, and is not repeated.

What the stages learn is not looked at here; `make quickstart` itself does that.
"""

import json

import pytest

from cslm_jax.errors import CslmError
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
    for direction in ("en_en", "zh_zh", "en_zh", "zh_en"):
        assert {"answer_accuracy", "asr_er", "off_target_text", "n"} <= set(report["s2s"][direction])
    assert {"parallel", "random", "n"} <= set(report["similarity"])
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
