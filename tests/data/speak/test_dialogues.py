"""From text dialogues to spoken ones: which texts in which languages, in which voices, and in what order."""

import pickle
import threading
import time

import pytest
from conftest import completion

from cslm_jax.data.corpora import CorpusConfig, Postponed, Recording, Rejected, WrittenDialogue
from cslm_jax.data.records import Dialogue
from cslm_jax.data.speak.config import EndpointConfig, EspeakConfig, SpeakConfig, TranslatorConfig
from cslm_jax.data.speak.dialogues import spoken
from cslm_jax.errors import CslmError

ASKING = {"en": EspeakConfig(), "zh": EspeakConfig()}
ANSWERING = {"en": EspeakConfig(("f1-165-50",)), "zh": EspeakConfig(("f1-165-50",))}


@pytest.fixture
def corpus(tmp_path) -> CorpusConfig:
    return CorpusConfig("c", "manifest", speak=SpeakConfig(ASKING, ANSWERING, cache=str(tmp_path / "spoken")))


@pytest.fixture
def translating(server, tmp_path) -> CorpusConfig:
    """A corpus with a translator whose Chinese tells which text it was asked for."""
    server.answer = lambda request, before: (200, {}, completion(chinese(request)))
    endpoint = EndpointConfig(server.url, attempts=1, backoff_s=0.01)
    translator = TranslatorConfig(endpoint, "m", prompts={"en-zh": "{text}"}, threads=3)
    return CorpusConfig("c", "manifest", speak=SpeakConfig(ASKING, ANSWERING, translator, str(tmp_path / "spoken")))


def chinese(request) -> str:
    return "".join(chr(0x4E00 + ord(letter)) for letter in request.json["messages"][0]["content"] if letter.isalnum())


def dialogue(*turns, id="d") -> Dialogue:
    return Dialogue(id=id, split="validation", language="en", turns=tuple(turns))


def test_a_dialogue_in_its_own_language(corpus):
    """The first exchange, without what comes before and behind it."""
    turns = [("system", "s"), ("user", "why"), ("assistant", "a red dog"), ("user", "x"), ("assistant", "y")]
    (item,) = spoken([dialogue(*turns)], corpus, ("en", "zh"))
    assert (item.id, item.split, list(item.question), list(item.answer)) == ("d", "validation", ["en"], ["en"])
    assert (item.question["en"].text, item.answer["en"].text) == ("why", "a red dog")
    assert item.answer["en"].speaker == "f1-165-50" != item.question["en"].speaker
    for recording in item.recordings:  # made where it is loaded, in another process
        assert 0.1 < len(pickle.loads(pickle.dumps(recording)).load()) / 16000 < 3


def test_voices_do_not_depend_on_what_else_is_read(corpus):
    items = [dialogue(("user", "why"), ("assistant", "a dog"), id=f"d{i}") for i in range(20)]
    voices = {item.id: item.question["en"].speaker for item in spoken(items, corpus)}
    assert {item.id: item.question["en"].speaker for item in spoken(items[::-1][:9], corpus)}.items() <= voices.items()
    assert len(set(voices.values())) > 15


def test_languages_that_are_there_are_not_translated(translating, server):
    item = WrittenDialogue("w", {"en": "why", "zh": "为什么"}, {"en": "a red dog"})
    (made,) = spoken([item], translating)
    assert {language: recording.text for language, recording in made.question.items()} == {"en": "why", "zh": "为什么"}
    assert made.answer["en"].text == "a red dog" and made.answer["zh"].text == "".join(chr(0x4E00 + ord(c)) for c in "areddog")
    assert len(server.requests) == 1


def test_translations_keep_the_order_and_run_at_once(translating, server):
    most, now, lock = 0, 0, threading.Lock()

    def slow(request, before):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02 * (before % 3))
        with lock:
            now -= 1
        return 200, {}, completion(chinese(request))

    server.answer = slow
    items = [dialogue(("user", f"why {i}"), ("assistant", f"a dog {i}"), id=f"d{i}") for i in range(20)]
    assert [item.id for item in spoken(iter(items), translating)] == [item.id for item in items]
    assert 1 < most <= 3 and len(server.requests) == 40


def test_only_what_is_asked_for_is_translated(translating, server):
    """A corpus is long: translation stays a bounded number of dialogues ahead."""
    items = (dialogue(("user", f"why {i}"), ("assistant", f"a dog {i}"), id=f"d{i}") for i in range(1000))
    made = spoken(items, translating)
    assert next(made).id == "d0"
    made.close()
    assert len(server.requests) <= 2 * (3 * 4 + 1)


def test_other_items_stay_as_they_are(corpus):
    items = [Rejected("r", "f", "s", "why"), Recording("a", "en", "hi", lambda: None)]
    assert list(spoken(items, corpus)) == items
    text = [dialogue(("user", "why"), ("assistant", "a dog"))]
    assert list(spoken(text, CorpusConfig("c", "manifest"))) == text


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (dialogue(("user", "a"), ("user", "b"), ("system", "c"), ("assistant", "d")), "no turn of the user that the assistant"),
        (WrittenDialogue("d", {"en": " "}, {"en": "dog"}), "`question[en]` is empty"),
        (WrittenDialogue("d", {"en": "why"}, {"fr": "chien"}), "`answer` is in fr; speak.answer has en, zh"),
        (WrittenDialogue("d", {"en": "why"}, {}), "`answer` is in no language"),
    ],
)
def test_what_cannot_be_spoken_is_set_aside(corpus, item, says):
    (made,) = spoken([item], corpus)
    assert type(made) is Rejected and made.id == "d" and says in made.reason


def test_what_the_translator_fails_at_is_postponed(translating, server):
    server.answer = lambda request, before: (503, {}, b"busy")
    (made,) = spoken([dialogue(("user", "why"), ("assistant", "a dog"))], translating)
    assert type(made) is Postponed and made.stage == "translate"
    for part in ("status 503: busy", server.url, "`question[en]`", "Chinese"):
        assert part in made.reason


def test_a_language_without_tasks_is_told_before_the_work(corpus):
    with pytest.raises(CslmError, match="corpora.c.speak has the language 'zh'; data.languages has en, fr"):
        spoken([], corpus, ("en", "fr"))
