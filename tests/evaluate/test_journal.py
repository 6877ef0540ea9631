"""Finished measures are kept, others repeated; samples lie beside their text."""

import json

import numpy as np
import pytest
import soundfile

from cslm_jax.evaluate.journal import Journal, fingerprint
from cslm_jax.evaluate.measures import Result
from cslm_jax.evaluate.system import Spoken
from cslm_jax.generate.sampling import SamplingConfig


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "measures", tmp_path / "samples", count=2, sample_rate=8000)


class Counted:
    def __init__(self, value: float):
        self.value, self.calls = value, 0

    def __call__(self) -> Result:
        self.calls += 1
        sound = Spoken(np.full(800, 0.25, np.float32), (0.05,), (np.array([1, 2]), np.array([3])), "heard")
        silent = Spoken(np.zeros(0, np.float32), (), (), "")
        items = [{"id": str(i), "reference": f"text {i}"} for i in range(3)]
        question = np.full(1600, -0.5, np.float32)
        return Result({"wer_en": self.value}, 3, {"wer_en": (0.0, 1.0)}, items, [sound, silent, sound], [question])


def test_a_finished_measure_is_not_repeated(journal):
    compute = Counted(0.5)
    first, second = journal.measure("tts_en", "a", compute), journal.measure("tts_en", "a", compute)
    assert compute.calls == 1
    assert second == json.loads(json.dumps(first)) and second["values"] == {"wer_en": 0.5} and second["n"] == 3


def test_another_model_is_measured_again(journal):
    journal.measure("tts_en", "a", Counted(0.5))
    assert journal.measure("tts_en", "b", Counted(0.25))["values"] == {"wer_en": 0.25}


def test_another_limit_is_measured_again(journal):
    journal.measure("tts_en", "a", Counted(0.5), limit=10)
    assert journal.measure("tts_en", "a", Counted(0.25), limit=20)["values"] == {"wer_en": 0.25}


def test_a_measure_that_cannot_be_read_is_repeated(journal):
    journal.measure("tts_en", "a", Counted(0.5))
    path = journal.directory / "tts_en.json"
    for content in (path.read_text()[:40], "null", '{"fingerprint": "a"}'):
        path.write_text(content)
        assert journal.measure("tts_en", "a", Counted(0.25))["values"] == {"wer_en": 0.25}


def test_a_failure_leaves_nothing_half_done(journal):
    with pytest.raises(RuntimeError):
        journal.measure("tts_en", "a", lambda: (_ for _ in ()).throw(RuntimeError()))
    assert not list(journal.directory.glob("*"))


def test_samples_are_sound_with_text_beside(journal):
    items = journal.measure("tts_en", "a", Counted(0.5))["items"]
    assert sorted(path.name for path in journal.samples.iterdir()) == [
        "tts_en_0.txt",
        "tts_en_0.wav",
        "tts_en_0_question.wav",
    ]
    assert items[0]["sound"] == {
        "file": "tts_en_0.wav", "cuts": [0.05], "units": [[1, 2], [3]], "question": "tts_en_0_question.wav",
    }  # fmt: skip
    assert "sound" not in items[1], "no sound came out"
    assert "sound" not in items[2], "beyond the count"
    waveform, rate = soundfile.read(journal.samples / "tts_en_0.wav")
    assert rate == 8000 and len(waveform) == 800 and np.allclose(waveform, 0.25, atol=1e-4)
    assert soundfile.info(journal.samples / "tts_en_0_question.wav").samplerate == 16000
    assert "reference: text 0\n" in (journal.samples / "tts_en_0.txt").read_text()


def test_fingerprints_follow_every_field():
    same = fingerprint(SamplingConfig(), {"a": 1})
    assert same == fingerprint(SamplingConfig(), {"a": 1})
    assert len({same, fingerprint(SamplingConfig(seed=1), {"a": 1}), fingerprint(SamplingConfig(), {"a": 2})}) == 3
