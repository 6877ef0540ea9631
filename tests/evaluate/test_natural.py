"""Records find the recordings that they were made of."""

import numpy as np
import pytest

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Recording, SpokenDialogueItem, WrittenDialogue
from cslm_jax.data.speak.config import EspeakConfig, SpeakConfig
from cslm_jax.errors import CslmError
from cslm_jax.evaluate.natural import NaturalRecordings


class Sound:
    def __init__(self, level: float):
        self.level = level

    def __call__(self) -> np.ndarray:
        return np.full(8000, self.level, np.float32)


def read(corpus: CorpusConfig):
    """Two corpora that both call their first recording `0`."""
    level = float(corpus.path)
    yield Recording("0", "en", f"text {corpus.path}", Sound(level), split="validation")
    yield Recording("1", "en", "learnt", Sound(level), split="train")
    question = {language: Recording(f"q-{language}", language, language, Sound(level + 0.1)) for language in ("en", "zh")}
    yield SpokenDialogueItem(f"dialogue {corpus.path}", question, question, "validation")


@pytest.fixture
def natural(monkeypatch) -> NaturalRecordings:
    monkeypatch.setitem(corpora.READERS, "two", f"{__name__}:read")
    return NaturalRecordings([CorpusConfig("a", "two", "0.25"), CorpusConfig("b", "two", "0.5")])


def test_equal_ids_of_two_corpora_are_kept_apart(natural):
    assert natural.load("0", "text 0.25")[0] == 0.25
    assert natural.load("0", "text 0.5")[0] == 0.5


def test_questions_are_found_by_language(natural):
    assert natural.load("dialogue 0.5", "zh")[0] == np.float32(0.6)


def test_a_recording_that_is_gone_is_named(natural):
    with pytest.raises(CslmError, match="'2'.*corpora"):
        natural.load("2", "text")
    with pytest.raises(CslmError):
        natural.load("1", "learnt")


def written(corpus: CorpusConfig):
    for split in ("train", "validation"):
        yield WrittenDialogue(split, {"en": "why"}, {"en": "a red dog"}, split)


def test_questions_that_were_synthesised_are_found(tmp_path):
    """Only the held-out ones are: the others would be translated for nothing."""
    speak = SpeakConfig({"en": EspeakConfig()}, {"en": EspeakConfig()}, cache=str(tmp_path))
    natural = NaturalRecordings([CorpusConfig("a", f"{__name__}:written", speak=speak)])
    assert len(natural.load("validation", "why")) > 1600 and len(list(tmp_path.rglob("*.flac"))) == 1
    with pytest.raises(CslmError, match="'train'"):
        natural.load("train", "why")
