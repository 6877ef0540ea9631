"""What every measure leans on: answers in the order of the questions, and ears that bear any sound."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from cslm_jax.chat import Message
from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.errors import CslmError
from cslm_jax.evaluate import system as module
from cslm_jax.evaluate.system import System
from cslm_jax.generate.sampling import SamplingConfig


def test_answers_stand_in_the_order_of_the_questions(make_system):
    system = make_system(lambda prompt: prompt.split("\n\n")[1].split("<|eot_id|>")[0])
    texts = ["what is it " * n for n in (3, 1, 5, 2, 4)]
    responses = system.respond([[Message("user", (text,))] for text in texts], SamplingConfig(), 2, "test")
    assert [response.text for response in responses] == [text.strip() for text in texts]


def test_pieces_without_units_are_silent(make_system, world):
    red, cat = world.speech_of("red").units, world.speech_of("cat").units
    nothing = np.zeros(0, np.int32)
    both, none = make_system(None).speak([[nothing, red, nothing, cat], [nothing]])
    assert both.transcript == "redcat" and len(both.units) == 2 and both.cuts == (pytest.approx(0.15),)
    assert none.transcript == "" and none.waveform.size == 0 and none.cuts == ()


class Ears:
    """Reports how much it is given to hear."""

    def transcribe(self, waveforms):
        return [f"{len(waveform)} {waveform.dtype}" for waveform in waveforms]


@pytest.mark.parametrize(
    "waveform, heard",
    [
        (np.zeros(0), ""),
        (np.zeros(22050), ""),
        (np.full(22050, np.nan), ""),
        (np.ones(100), ""),
        (np.ones(22050), "16000 float32"),
        (np.ones(22050 * 45), "480000 float32"),
    ],
    ids=["empty", "silent", "NaN", "a click", "a second", "too long"],
)
def test_any_waveform_can_be_heard(make_system, waveform, heard):
    system = dataclasses.replace(make_system(None), tokenizer=Ears())
    assert system.transcribe([waveform, np.ones(22050)], 22050) == [heard, "16000 float32"]


def test_a_model_of_another_vocabulary_is_refused(tmp_path, vocabulary, monkeypatch):
    vocabulary.save(tmp_path / "vocabulary")
    trained = SimpleNamespace(origin=SimpleNamespace(vocabulary_sha256="another"))
    monkeypatch.setattr(module, "read_model", lambda workdir: trained)
    config = Experiment(name="x", workdir="runs/x", data=DataConfig(vocabulary=str(tmp_path / "vocabulary")))
    with pytest.raises(CslmError, match="runs/x was trained with another vocabulary"):
        System.load(config)
