"""What every measure leans on: answers in the order of the questions, and ears that bear any sound."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from cslm_jax.chat import Message
from cslm_jax.config import Experiment
from cslm_jax.data.config import DataConfig
from cslm_jax.errors import CslmError
from cslm_jax.evaluate.system import System
from cslm_jax.generate import checkpoint
from cslm_jax.generate.sampling import SamplingConfig
from cslm_jax.speech import ctc
from cslm_jax.speech.decoder import DecoderConfig, MelDecoder
from cslm_jax.speech.duration import DurationConfig
from cslm_jax.speech.mel_decoder import MelConfig
from cslm_jax.speech.s3_config import S3Config
from cslm_jax.speech.tokenizer import SpeechTokenizer, new_model


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


def test_all_answers_are_generated_in_one_call(make_system, monkeypatch):
    """Random streams belong to places in a call: a call for each batch would use the same few again and again."""
    system, calls = make_system(lambda prompt: "yes"), []
    generate = system.generator.generate

    def counted(prompts, sampling, at_once, progress):
        calls.append((len(prompts), at_once))
        return generate(prompts, sampling, at_once, progress)

    monkeypatch.setattr(system.generator, "generate", counted)
    system.respond([[Message("user", ("what",))]] * 5, SamplingConfig(), 2, "test")
    assert calls == [(5, 2)]


@pytest.fixture
def parts(tmp_path, vocabulary):
    """An experiment whose speech models fit its vocabulary."""
    vocabulary.save(tmp_path / "vocabulary")
    save_tokenizer(tmp_path / "tokenizer")
    save_decoder(tmp_path / "decoder")
    paths = {name: str(tmp_path / name) for name in ("vocabulary", "tokenizer", "decoder")}
    return Experiment(name="x", workdir="runs/x", data=DataConfig(**paths))


def save_tokenizer(directory, **changes):
    sizes = dataclasses.replace(S3Config(mels=40, width=16, heads=2, layers=1, codes=64, recogniser_layers=1), **changes)
    labels = ctc.Labels(("a", "b"))
    SpeechTokenizer(new_model(sizes, labels), labels).save(directory)


def save_decoder(directory, **changes):
    mel = MelConfig(**({"codes": 64, "unit_width": 16, "unit_blocks": 1, "mel_width": 16, "mel_blocks": 1} | changes))
    MelDecoder(DecoderConfig(DurationConfig(codes=mel.codes, width=16), mel)).save(directory)


def trained(sha256: str):
    return SimpleNamespace(origin=SimpleNamespace(vocabulary_sha256=sha256), params=None, config=None, step=5)


def test_a_system_knows_the_step_of_its_model(parts, vocabulary, monkeypatch):
    monkeypatch.setattr(checkpoint, "read_model", lambda workdir: trained(vocabulary.sha256))
    assert System.load(parts).generator.step == 5


def test_a_model_of_another_vocabulary_is_refused(parts, monkeypatch):
    monkeypatch.setattr(checkpoint, "read_model", lambda workdir: trained("another"))
    with pytest.raises(CslmError, match="runs/x was trained with another vocabulary"):
        System.load(parts)


@pytest.mark.parametrize(
    "save, part, changes, message",
    [
        (save_tokenizer, "tokenizer", {"codes": 32}, "in their units: the vocabulary 64, the tokenizer 32, the decoder 64"),
        (save_decoder, "decoder", {"codes": 128}, "in their units: the vocabulary 64, the tokenizer 64, the decoder 128"),
        (save_decoder, "decoder", {"unit_rate": 50}, "in their units a second: the tokenizer 25, the decoder 50"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(parts, tmp_path, save, part, changes, message):
    save(tmp_path / part, **changes)
    with pytest.raises(CslmError, match=message):
        System.load(parts)
