"""Protects `cslm respond`: from sound to sound, what it prints, and what it says when something is missing."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
import soundfile
from script import PIECES, Script, answer

from cslm_jax import config
from cslm_jax.chat import ResponsePiece
from cslm_jax.config import Experiment
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.generate import respond as module
from cslm_jax.generate.checkpoint import load_generator
from cslm_jax.generate.respond import Assistant, respond
from cslm_jax.speech import ctc
from cslm_jax.speech.decoder import DecoderConfig, MelDecoder
from cslm_jax.speech.duration import DurationConfig
from cslm_jax.speech.mel_decoder import MelConfig
from cslm_jax.speech.s3_config import S3Config
from cslm_jax.speech.tokenizer import SpeechTokenizer, new_model
from cslm_jax.train.checkpoint import Checkpoints, Origin
from cslm_jax.train.step import TrainState


@pytest.fixture(scope="session")
def question(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "question.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    return path


@pytest.fixture(scope="session")
def workdir(tmp_path_factory, vocabulary, generator):
    """What a quickstart leaves behind, with random weights in every part."""
    root = tmp_path_factory.mktemp("quickstart")
    vocabulary.save(root / "vocabulary")
    labels = ctc.Labels.from_texts(["where is the fox", "红色的狐狸"])
    sizes = S3Config(mels=40, width=16, heads=2, layers=1, codes=16, recogniser_layers=1)
    SpeechTokenizer(new_model(sizes, labels), labels).save(root / "tokenizer")
    mel = MelConfig(codes=16, unit_width=16, unit_blocks=1, mel_width=16, mel_blocks=1)
    MelDecoder(DecoderConfig(DurationConfig(codes=16, width=16), mel)).save(root / "decoder")
    experiment = dataclasses.replace(Experiment("test", str(root / "sft")), model=generator.config)
    config.save(experiment, root / "sft")
    checkpoints = Checkpoints(root / "sft", keep=1)
    state = TrainState(jax.numpy.int32(3), generator.params, {"count": jax.numpy.int32(3)})
    checkpoints.save(state, 3, Origin(config.to_dict(experiment), vocabulary.sha256))
    checkpoints.close()
    return root


@pytest.fixture
def scripted(monkeypatch, vocabulary):
    """The model says what the script says."""
    script = Script(vocabulary, answer(vocabulary))
    monkeypatch.setattr(module, "load_generator", lambda run, vocabulary: script)
    return script


def test_it_prints_the_answer_and_writes_its_sound(workdir, question, scripted, tmp_path, capsys):
    respond(str(workdir), str(question), str(tmp_path / "deep" / "answer.wav"))
    printed = capsys.readouterr().out
    assert printed.startswith("question: where is the fox?\nanswer: the red fox is in the garden.\n")
    assert "first sound after" in printed
    sound, rate = soundfile.read(tmp_path / "deep" / "answer.wav")
    decoder = MelDecoder.load(workdir / "decoder")
    assert rate == 22050 and len(sound) == sum(len(decoder.decode(units)) for _, units in PIECES)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["answer.wav"]


def test_a_piece_sounds_before_the_next_is_shown(workdir, question, scripted):
    assistant = Assistant.load(workdir)
    shown = []
    sounds = assistant.answer(np.array([1]), shown.append)
    next(sounds)
    assert sum(isinstance(event, ResponsePiece) for event in shown) == 1
    next(sounds)
    assert sum(isinstance(event, ResponsePiece) for event in shown) == 2


@pytest.mark.parametrize(
    "spoken, language, instruction",
    [
        ("en", None, "Please directly answer the questions in the user's speech."),
        ("zh", None, "直接回答用户语音中的问题。"),
        ("zh", "en", "Please answer the questions in the user's speech in English."),
        ("en", "zh", "用中文回答用户语音中的问题。"),
    ],
)
def test_the_prompt_asks_as_the_paper_does(workdir, question, vocabulary, monkeypatch, spoken, language, instruction):
    monkeypatch.setattr(module, "_language", lambda transcript, languages: spoken)
    assistant = Assistant.load(workdir)
    waveform = module.load_sound(question)
    units = "".join(f"<{unit}>" for unit in assistant.tokenizer.analyse([waveform])[0].speech.units)
    prompt = vocabulary.decode(assistant.prompt(waveform, language))
    assert instruction in prompt and f"<sosp>{units}<eosp>" in prompt


@pytest.mark.parametrize("transcript, expected", [("where is the fox", "en"), ("狐狸在哪里", "zh"), ("", "en")])
def test_the_language_of_the_question_is_heard(transcript, expected):
    assert module._language(transcript, ("en", "zh")) == expected


def test_a_trained_run_is_read_back(workdir, generator, vocabulary):
    loaded = load_generator(workdir / "sft", vocabulary)
    assert loaded.config == generator.config and loaded.step == 3
    assert all(map(np.array_equal, jax.tree.leaves(loaded.params), jax.tree.leaves(generator.params)))


def test_another_vocabulary_is_refused(workdir, vocabulary):
    other = type(vocabulary)(vocabulary.text, codes=vocabulary.codes + 1, pad_to=64)
    with pytest.raises(CslmError, match="another vocabulary"):
        load_generator(workdir / "sft", other)


def test_parts_that_do_not_fit_each_other_are_refused(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "other")
    mel = MelConfig(codes=8, unit_width=16, unit_blocks=1, mel_width=16, mel_blocks=1)
    MelDecoder(DecoderConfig(DurationConfig(codes=8, width=16), mel)).save(tmp_path / "other" / "decoder")
    with pytest.raises(CslmError, match="the vocabulary 16, the tokenizer 16, the decoder 8"):
        Assistant.load(tmp_path / "other")


def test_an_answer_without_speech_is_an_error_and_writes_nothing(workdir, question, scripted, vocabulary, tmp_path):
    scripted.tokens = np.array(vocabulary.encode("[answer]: the garden<|eot_id|>"), np.int32)
    with pytest.raises(CslmError, match="no speech"):
        respond(str(workdir), str(question), str(tmp_path / "answer.wav"))
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(workdir, question, tmp_path):
    out = str(tmp_path / "answer.wav")
    with pytest.raises(BadRecord, match="nothing.wav"):
        respond(str(workdir), str(tmp_path / "nothing.wav"), out)
    with pytest.raises(CslmError, match="there is no directory .*nowhere"):
        respond(str(tmp_path / "nowhere"), str(question), out)
    with pytest.raises(CslmError, match="sft is not the workdir of a run"):
        respond(str(tmp_path), str(question), out)
    with pytest.raises(CslmError, match="answers in en or zh, not in 'fr'"):
        respond(str(workdir), str(question), out, language="fr")
