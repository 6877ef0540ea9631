"""Which model times the words of an answer: never another one than the config says, and never one recording at a time."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from cslm_jax.data import corpora, prepare
from cslm_jax.data.alignment import Alignment, languages_of_answers
from cslm_jax.data.config import DataConfig, PrepareConfig
from cslm_jax.data.corpora import CorpusConfig, Recording, Rejected, SpokenDialogueItem
from cslm_jax.data.recording import make_records
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import aligners
from cslm_jax.speech.align import Word
from cslm_jax.speech.ctc import Labels
from cslm_jax.speech.espeak import Voice, speak
from cslm_jax.speech.tokenizer import Analysis
from cslm_jax.speech.units import Speech

LABELS = Labels(tuple("狗红"))
DIALOGUES = CorpusConfig("talk", "manifest")


def frames(drawn: str, alphabet: str) -> np.ndarray:
    """Log-probabilities that are sure of one character a frame, "_" a blank."""
    return np.log(np.eye(len(alphabet))[[alphabet.index(frame) for frame in drawn]] * 0.9 + 0.01).astype(np.float32)


@dataclasses.dataclass
class Tokenizer:
    """Hears 狗 in the first second, and then 红."""

    labels: Labels | None = LABELS

    def analyse_each(self, waveforms) -> list[Analysis]:
        return [Analysis(Speech.from_frames(np.arange(50)), frames("狗" * 25 + "红" * 25, "_狗红")) for _ in waveforms]


def sound() -> np.ndarray:
    return np.full(32000, 0.1, np.float32)


def talk(id: str, text: str = "a dog") -> SpokenDialogueItem:
    question = {"en": Recording(f"{id}-q", "en", "why", sound)}
    answer = {"en": Recording(f"{id}-en", "en", text, sound), "zh": Recording(f"{id}-zh", "zh", "狗红", sound)}
    return SpokenDialogueItem(id, question, answer)


@pytest.fixture
def written(tmp_path) -> Path:
    """What a command wrote about the English answers of two dialogues, at 5 frames a second."""
    alphabet = "_adgo "
    labels = {character: i for i, character in enumerate(alphabet) if i}
    (tmp_path / "aligner.json").write_text(json.dumps({"characters": labels, "frame_rate": 5}))
    np.save(tmp_path / "1-en.npy", frames("aa_ __doog", alphabet))
    np.save(tmp_path / "2-en.npy", frames("_a_ _dog__", alphabet))
    return tmp_path


def test_a_language_with_an_aligner_is_aligned_by_it_and_the_others_by_the_tokenizer(written, monkeypatch):
    calls = []
    plain = aligners.StoredLogProbs.log_probs
    monkeypatch.setattr(aligners.StoredLogProbs, "log_probs", lambda self, w, ids: calls.append(list(ids)) or plain(self, w, ids))
    alignment = Alignment({"en": str(written)}, Tokenizer)
    items = [talk("1"), talk("2"), talk("3"), talk("1", "a dog dog dog dog")]
    first, second, none, crowded = make_records(items, DIALOGUES, ("en", "zh"), Tokenizer, alignment=alignment)
    assert first.answer["en"].words == (Word(0, 1, 0.0, 0.4), Word(2, 5, 1.2, 2.0))
    assert second.answer["en"].words == (Word(0, 1, 0.2, 0.4), Word(2, 5, 1.0, 1.6))
    assert first.answer["zh"].words == (Word(0, 1, 0.0, 1.0), Word(1, 2, 1.0, 2.0))
    assert not first.question["en"].words
    assert isinstance(none, Rejected) and none.stage == "align" and "3-en.npy cannot be read" in none.reason
    assert isinstance(crowded, Rejected) and "frames" in crowded.reason
    assert calls == [["1-en", "2-en", "3-en", "1-en"]], "all at once, and no question"


def test_espeak_aligns_without_a_model():
    text = "the old man sees a red house"
    spoken = Recording("a", "en", text, functools.partial(speak, text, "en", Voice("m3")))
    recordings = [spoken, dataclasses.replace(spoken, text="...")]
    words, none = Alignment({"en": "espeak"}, Tokenizer).words(recordings, [spoken.load()] * 2, [None] * 2)
    assert [text[word.start_char : word.end_char] for word in words] == text.split()
    assert isinstance(none, BadRecord) and none.stage == "align"


def test_a_corpus_says_in_which_languages_it_answers(monkeypatch):
    read = {"r": [Recording("r", "fr", "mot", sound)], "talk": [Rejected("x", "", "text", "empty"), talk("1")]}
    monkeypatch.setattr(corpora, "read", lambda corpus: iter(read[corpus.name]))
    recordings = CorpusConfig("r", "manifest")
    assert languages_of_answers([recordings], ("en", "zh")) == []
    assert languages_of_answers([recordings, DIALOGUES], ("zh", "fr")) == ["zh"]


@pytest.fixture
def data(tmp_path, written, vocabulary_directory) -> DataConfig:
    return DataConfig(
        records=str(tmp_path / "records"),
        vocabulary=str(vocabulary_directory),
        prepare=PrepareConfig(processes=0),
        languages=("en",),
        aligners={"en": str(written)},
    )


def test_answers_that_nothing_can_align_are_told_before_any_work(data, monkeypatch):
    """The published speech tokenizers have no recogniser."""
    monkeypatch.setattr(prepare.SpeechTokenizer, "load", lambda *_, **__: Tokenizer(labels=None))
    monkeypatch.setattr(Recording, "load", lambda self: pytest.fail("work began"))
    monkeypatch.setattr(corpora, "read", lambda corpus: iter([talk("1")]))
    without = dataclasses.replace(data, aligners={})
    with pytest.raises(CslmError, match=r"data.aligners has nothing for 'en'.*--config.data.aligners en PATH, or `espeak`"):
        prepare.make_records_of([DIALOGUES], without)
    with pytest.raises(CslmError, match=r"data.aligners.en: .*nowhere is no aligner"):
        prepare.make_records_of([DIALOGUES], dataclasses.replace(data, aligners={"en": "nowhere"}))
    with pytest.raises(CslmError, match="espeak-ng has no voice for the language 'xx'"):
        Alignment({"xx": "espeak"}, Tokenizer).check(["xx"])
    assert not Path(data.records).exists()


def test_answers_aligned_by_two_models_do_not_lie_side_by_side(data, monkeypatch, tmp_path):
    monkeypatch.setattr(prepare.SpeechTokenizer, "load", lambda *_, **__: Tokenizer())
    items = [dataclasses.replace(talk("1"), answer={"en": talk("1").answer["en"]})]
    monkeypatch.setattr(corpora, "read", lambda corpus: iter(items))
    prepare.make_records_of([DIALOGUES], data)
    prepare.make_records_of([DIALOGUES], data)
    with pytest.raises(CslmError, match="was aligned with data.aligners = {'en': '.*'}, the config has {'en': None}"):
        prepare.make_records_of([DIALOGUES], dataclasses.replace(data, aligners={}))
    moved = tmp_path / "elsewhere" / Path(data.aligners["en"]).name
    moved.mkdir(parents=True)
    (moved / "aligner.json").write_text((Path(data.aligners["en"]) / "aligner.json").read_text())
    prepare.make_records_of([DIALOGUES], dataclasses.replace(data, aligners={"en": str(moved)}))
    # An aligner of a language that it has no answers in is none of its business.
    prepare.make_records_of([DIALOGUES], dataclasses.replace(data, aligners={**data.aligners, "fr": "espeak"}))


def test_an_aligner_in_place_of_the_recogniser_is_noticed(data, monkeypatch):
    monkeypatch.setattr(prepare.SpeechTokenizer, "load", lambda *_, **__: Tokenizer())
    items = [dataclasses.replace(talk("1"), answer={"zh": talk("1").answer["zh"]})]
    monkeypatch.setattr(corpora, "read", lambda corpus: iter(items))
    both = dataclasses.replace(data, languages=("en", "zh"))
    prepare.make_records_of([DIALOGUES], both)
    with pytest.raises(CslmError, match="was aligned with data.aligners = {'zh': None}, the config has {'zh': 'espeak'}"):
        prepare.make_records_of([DIALOGUES], dataclasses.replace(both, aligners={"zh": "espeak"}))
