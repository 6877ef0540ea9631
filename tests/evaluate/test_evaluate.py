"""The command: every measure once, resumed where it stopped, and anew when something that it depends on has changed."""

import dataclasses
import json

import numpy as np
import pytest

from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.data.records import write_records
from cslm_jax.errors import CslmError
from cslm_jax.evaluate import evaluate as command
from cslm_jax.evaluate import plan as plans
from cslm_jax.evaluate.config import EvaluateConfig
from cslm_jax.evaluate.natural import NaturalRecordings
from cslm_jax.evaluate.system import System
from cslm_jax.train.config import TrainConfig


@pytest.fixture
def system(monkeypatch, make_system, world):
    made = make_system(world.answer)
    monkeypatch.setattr(System, "load", lambda config: made)
    level = lambda self, id, text: np.full(1600, 0.1, np.float32)  # noqa: E731
    monkeypatch.setattr(NaturalRecordings, "load", level)
    return made


@pytest.fixture
def config(tmp_path, world, vocabulary, system) -> Experiment:
    vocabulary.save(tmp_path / "vocabulary")
    write_records(tmp_path / "records" / "corpus", [*world.utterances("en"), *world.utterances("zh"), *world.dialogues()])
    (tmp_path / "sft" / "checkpoints" / "7").mkdir(parents=True)
    (tmp_path / "sft" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    (tmp_path / "stages.json").write_text(json.dumps({"sft": {"seconds": 12.5, "peak_memory_gib": 1.5, "finished": True}}))
    paths = {name: str(tmp_path / name) for name in ("vocabulary", "records", "tokenizer", "decoder")}
    return Experiment(
        name="small",
        workdir=str(tmp_path / "sft"),
        data=DataConfig(**paths),
        evaluate=EvaluateConfig(similarity=0, judge="same_text", samples=1, report=str(tmp_path / "report")),
    )


def test_everything_is_measured_and_reported(config, tmp_path, capsys):
    command.evaluate(config)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["asr"] == {"wer_en": 0.0, "n_en": 3, "cer_zh": 0.0, "n_zh": 3}
    assert set(report["recogniser"]) == {"wer_en", "n_en", "cer_zh", "n_zh"}
    assert {d: v["answer_accuracy"] for d, v in report["s2s"].items()} == dict.fromkeys(("en_en", "zh_zh", "en_zh", "zh_en"), 1.0)
    assert report["wall_seconds"] == 12.5 and report["peak_memory_gib"] == 1.5
    samples = {path.name for path in (tmp_path / "report" / "samples").glob("*.wav")}
    assert {"s2s_en_zh_0.wav", "s2s_en_zh_0_question.wav", "tts_zh_0.wav"} <= samples
    assert "stage 2: SFT" in (tmp_path / "report" / "report.html").read_text()
    printed = capsys.readouterr().out
    assert "English → Chinese: answer correct" in printed and "report.html" in printed


def test_a_damaged_list_of_stages_is_named_and_nothing_else_is_to_be_deleted(config, tmp_path):
    command.evaluate(config)
    stages = tmp_path / "stages.json"
    stages.write_text("{")
    with pytest.raises(
        CslmError, match=f"{stages} is truncated or corrupted .*; delete this file and run the same command again$"
    ):
        command.report(config)


def test_what_is_measured_is_not_measured_again(config, system):
    command.evaluate(config)
    system.generator.prompts.clear()
    command.evaluate(config)
    assert not system.generator.prompts


def test_an_interrupted_evaluation_goes_on(config, system, tmp_path):
    command.evaluate(config)
    (tmp_path / "report" / "measures" / "asr_zh.json").unlink()
    system.generator.prompts.clear()
    command.evaluate(config)
    assert len(system.generator.prompts) == 3


def test_a_limit_concerns_its_own_measure_only(config, system):
    command.evaluate(config)
    system.generator.prompts.clear()
    command.evaluate(dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, tts=2)))
    assert len(system.generator.prompts) == 2 * 2


def test_a_new_checkpoint_is_measured_anew(config, system, tmp_path):
    command.evaluate(config)
    system.generator.prompts.clear()
    (tmp_path / "sft" / "checkpoints" / "8").mkdir()
    system.generator.step = 8
    command.evaluate(config)
    assert len(system.generator.prompts) == 6 + 6 + 12


def test_after_a_fall_back_the_measures_are_those_of_the_model_that_was_read(config, system, tmp_path, capsys, caplog):
    """Checkpoint 8 is damaged, so 7 was loaded; once 8 can be read, nothing of 7 may stand for it."""
    (tmp_path / "sft" / "checkpoints" / "8").mkdir()
    command.evaluate(config)
    command.report(config)
    assert "the measures are of the checkpoint of step 7, not of that of step 8" in caplog.text
    system.generator.step, system.generator.answer = 8, lambda prompt: ""
    command.evaluate(dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, tts=0, s2s=0)))
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["asr"]["wer_en"] == 1.0 and "tts" not in report and "s2s" not in report


def test_measures_of_another_model_are_left_out_of_a_report(config, system, tmp_path, caplog):
    command.evaluate(config)
    (tmp_path / "sft" / "checkpoints" / "8").mkdir()
    system.generator.step = 8
    few = dataclasses.replace(config.evaluate, tts=0, s2s=0, recogniser=0)
    command.evaluate(dataclasses.replace(config, evaluate=few))
    command.report(config)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(report) == {"asr", "wall_seconds", "peak_memory_gib"}
    assert "left out, for another model or other settings gave them: tts_en, tts_zh, recogniser_en" in caplog.text
    command.report(dataclasses.replace(config, evaluate=dataclasses.replace(few, tts=1)))
    assert "tts" not in json.loads((tmp_path / "report" / "report.json").read_text())
    with pytest.raises(CslmError, match="holds no measures of .*sft as it is now"):
        command.report(dataclasses.replace(config, evaluate=dataclasses.replace(few, judge="same_content_words")))


def test_one_language_is_enough(config, tmp_path):
    """There is a direction within it, and off-target text in all other languages."""
    command.evaluate(dataclasses.replace(config, data=dataclasses.replace(config.data, languages=("en",))))
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(report["s2s"]) == {"en_en"} and report["s2s"]["en_en"]["off_target_text"] == 0.0
    assert report["asr"] == {"wer_en": 0.0, "n_en": 3}


def test_no_direction_needs_no_language_identifier(config, monkeypatch):
    def refuse(languages):
        raise ValueError("tlh is no language that the library knows")

    monkeypatch.setattr(plans, "LanguageIdentifier", refuse)
    command.evaluate(dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, s2s=0)))


def test_measures_can_be_left_out(config, tmp_path):
    few = dataclasses.replace(config.evaluate, asr=1, tts=0, recogniser=0, s2s=0)
    command.evaluate(dataclasses.replace(config, evaluate=few))
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(report) == {"asr", "wall_seconds", "peak_memory_gib"} and report["asr"]["n_en"] == 1


def test_a_report_needs_measures(config):
    with pytest.raises(CslmError, match="cslm evaluate"):
        command.report(config)


def test_curves_follow_the_runs_that_a_run_began_from(config, tmp_path):
    from cslm_jax import config as experiments

    for name, before in (("text", None), ("cpt", "text")):
        train = TrainConfig(init_from=before and str(tmp_path / before))
        experiments.save(dataclasses.replace(config, train=train), tmp_path / name)
    train = TrainConfig(init_from=str(tmp_path / "cpt"))
    found = command._metrics(dataclasses.replace(config, train=train))
    assert list(found) == ["tokenizer", "decoder", "text", "cpt", "sft"]


@pytest.mark.parametrize("field, value", [("asr", -1), ("batch", 0), ("similarity", 1), ("judge", "nobody"), ("samples", -2)])
def test_a_wrong_setting_is_named(field, value):
    with pytest.raises(ValueError, match=f"evaluate.{field}"):
        EvaluateConfig(**{field: value})
