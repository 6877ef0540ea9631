"""A small world for evaluation: one unit spells one character, so that nothing has to be trained.

The fake decoder speaks a unit as 50 ms of a constant, the fake recogniser reads those constants back.
"""

import dataclasses
import re
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from cslm_jax.data.records import SpokenDialogue, SpokenText, Utterance
from cslm_jax.evaluate.system import System
from cslm_jax.generate.sampling import SamplingConfig
from cslm_jax.speech.align import Word
from cslm_jax.speech.units import Speech
from cslm_jax.text.sentencepiece import SentencePieceText
from cslm_jax.vocabulary import JointVocabulary

ALPHABET = " abcdefghijklmnopqrstuvwxyz猫在哪里它花园红色的住"
SAMPLES = 800
TEXTS = {
    "en": ["the cat is red", "it lives in the garden", "what is it"],
    "zh": ["猫在花园里", "它是红色的", "它住在哪里"],
}
ALPHABET += "".join(sorted(set("".join(TEXTS["zh"])) - set(ALPHABET)))


def units_of(text: str) -> np.ndarray:
    kept = [ALPHABET.index(character) for character in text.lower() if character in ALPHABET]
    return Speech.from_frames(np.array(kept, np.int32)).units


def spelled(text: str) -> str:
    """Speech in a mixed string."""
    return "<sosp>" + "".join(f"<{unit}>" for unit in units_of(text)) + "<eosp>"


def read(string: str) -> str:
    """The text that the units in a mixed string spell."""
    return "".join(ALPHABET[int(unit)] for unit in re.findall(r"<(\d+)>", string))


class Decoder:
    sample_rate = 16000

    def decode_batch(self, units, run_lengths=None):
        return [np.repeat((row + 1) / 128, SAMPLES).astype(np.float32) for row in units]


class Tokenizer:
    def transcribe(self, waveforms):
        return [read("".join(f"<{round(x * 128) - 1}>" for x in waveform[SAMPLES // 2 :: SAMPLES])) for waveform in waveforms]


@dataclasses.dataclass
class Generator:
    """Answers a prompt, as a mixed string, with whatever `answer` says."""

    vocabulary: JointVocabulary
    answer: Callable[[str], str]
    prompts: list[str] = dataclasses.field(default_factory=list)
    step: int = 7

    def generate(self, prompts, sampling=SamplingConfig(), at_once=32, progress=lambda count: None):
        strings = [self.vocabulary.decode(prompt) for prompt in prompts]
        self.prompts += strings
        progress(len(strings))
        return [np.array(self.vocabulary.encode(self.answer(string)), np.int32) for string in strings]


@pytest.fixture(scope="session")
def vocabulary() -> JointVocabulary:
    lines = [*TEXTS["en"], *TEXTS["zh"], "This is input: 这是输入: user assistant system"] * 40
    return JointVocabulary(SentencePieceText.train(lines, 340), codes=64)


@pytest.fixture
def make_system(vocabulary):
    """System whose model answers with `answer(prompt)`."""
    return lambda answer: System(vocabulary, Generator(vocabulary, answer), Tokenizer(), Decoder())


def utterances(language: str) -> list[Utterance]:
    return [
        Utterance(id=f"{language}-{i}", language=language, text=text, speech=speech_of(text), split="validation")
        for i, text in enumerate(TEXTS[language])
    ]


def speech_of(text: str) -> Speech:
    return Speech(units_of(text), np.full(len(units_of(text)), 2, np.int32))


def dialogues() -> list[SpokenDialogue]:
    """The question is answered by saying it again, in the other language if need be."""
    out = []
    for i, texts in enumerate(zip(TEXTS["en"], TEXTS["zh"], strict=True)):
        spoken = {
            language: SpokenText(text, speech_of(text), (Word(0, len(text), 0.0, 0.5),))
            for language, text in zip(("en", "zh"), texts, strict=True)
        }
        out.append(SpokenDialogue(id=f"dialogue-{i}", question=spoken, answer=spoken, split="validation"))
    return out


def answer(prompt: str) -> str:
    """A perfect model: writes what it hears, says what it reads, answers a question by saying it in both ways."""
    asked = prompt.split("This is input: ")[-1].split("这是输入: ")[-1]
    if "<sosp>" not in asked:
        return spelled(asked.split("<|eot_id|>")[0])
    heard = read(asked.split("<eosp>")[0])
    if "answer" not in prompt and "回答" not in prompt:
        return heard
    language = "zh" if "中文" in prompt or "直接" in prompt else "en"
    source = "en" if heard in TEXTS["en"] else "zh"
    told = TEXTS[language][TEXTS[source].index(heard)]
    half = len(told) // 2
    pieces = (told[:half], told[half:])
    return f"[question]: {heard}; [answer]: " + "".join(piece + spelled(piece) for piece in pieces)


@pytest.fixture
def world():
    return SimpleNamespace(
        TEXTS=TEXTS, spelled=spelled, read=read, utterances=utterances, dialogues=dialogues, answer=answer,
        speech_of=speech_of,
    )  # fmt: skip
