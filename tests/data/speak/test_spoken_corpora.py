"""Text dialogues through the whole of `cslm prepare`: every response form, failing servers, and nothing paid for twice."""

import collections
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import completion, sound_file, waveform

from cslm_jax import chat
from cslm_jax import config as experiments
from cslm_jax.config import Experiment
from cslm_jax.data import caches, prepare, shards
from cslm_jax.data.catalogue import tasks
from cslm_jax.data.config import DataConfig, PrepareConfig
from cslm_jax.data.corpora import CorpusConfig, WrittenDialogue
from cslm_jax.data.records import Dialogue, read_records
from cslm_jax.data.speak.config import EndpointConfig, EspeakConfig, HttpConfig, SpeakConfig, TranslatorConfig
from cslm_jax.errors import CslmError
from cslm_jax.speech.ctc import Labels
from cslm_jax.speech.s3 import S3Config
from cslm_jax.speech.tokenizer import SpeechTokenizer, new_model

KEY = "sk-very-secret-0123456789"
LABELS = Labels.from_texts(["abcdefghijklmnopqrstuvwxyz'- ", "一只红狗跑了今天在家住"])
ANSWER = "a red dog ran far, and a cat sat on the mat; then the dog slept long, and no cat was to be seen again."


@functools.cache
def tokenizer() -> SpeechTokenizer:
    """Random weights: what matters here is what is done with units, not which they are."""
    sizes = S3Config(mels=40, width=16, heads=2, layers=1, codes=50, recogniser_layers=0)
    return SpeechTokenizer(new_model(sizes, LABELS), LABELS, batch_seconds=64)


def dialogues(corpus, count=6):
    """A reader: text dialogues in English, and the last one written in both languages."""
    for i in range(count - 1):
        yield Dialogue(id=f"d{i}", language="en", turns=(("user", f"why {'no ' * i}dog"), ("assistant", f"{'o ' * i}{ANSWER}")))
    yield WrittenDialogue("w", {"en": "who ran", "zh": "跑了"}, {"en": "a red dog ran", "zh": "一只红狗，跑了"})


@pytest.fixture
def experiment(tmp_path, vocabulary_directory, monkeypatch) -> Experiment:
    """Spoken by espeak-ng, each dialogue in its own languages."""
    tokenizer().save(tmp_path / "tokenizer")
    monkeypatch.setattr(prepare.SpeechTokenizer, "load", lambda *_, **__: tokenizer())
    # One shape for all lengths, so that one program is compiled.
    monkeypatch.setattr("cslm_jax.buckets.bucket", lambda length: 1536)
    data = DataConfig(
        records=str(tmp_path / "records"), vocabulary=str(vocabulary_directory), cache=str(tmp_path / "cache"),
        tokenizer=str(tmp_path / "tokenizer"), prepare=PrepareConfig(shard_items=2, processes=0), row_length=4096,
    )  # fmt: skip
    answers = EspeakConfig(("f1-165-50",))
    speak = SpeakConfig({"en": EspeakConfig(), "zh": EspeakConfig()}, {"en": answers, "zh": answers})
    speak = dataclasses.replace(speak, cache=str(tmp_path / "spoken"))
    corpus = CorpusConfig("spoken", f"{__name__}:dialogues", use=("s2s",), speak=speak)
    return Experiment("test", str(tmp_path / "work"), corpora=(corpus,), data=data)


def test_every_response_form_comes_from_the_same_records(experiment, vocabulary):
    forms = [("interleaved", 7), ("interleaved", 4), ("full", 7), ("without_tq", 7), ("fixed_ratio", 7)]
    pieces = {}
    for form, chunk_size in forms:
        data = dataclasses.replace(experiment.data, response_form=form, chunk_size=chunk_size)
        prepare.prepare(dataclasses.replace(experiment, data=data))
        records = {record.id: record for record in read_records(data.records, "spoken_dialogue")}
        assert list(records) == ["d0", "d1", "d2", "d3", "d4", "w"]
        for language in ("en", "zh"):
            recipe = caches.recipe(data, tasks(data.languages)[f"s2s_{language}_{language}"], vocabulary.sha256)
            cache = caches.Cache(caches.find(data, recipe))
            assert set(cache.ids) == {id for id, record in records.items() if language in record.answer}
            for i, id in enumerate(cache.ids):
                tokens, weights = cache.read(np.array([i]))
                said = chat.parse(tokens[weights > 0], vocabulary)
                answer = records[id].answer[language]
                assert said.text == answer.text
                merged = said.units[np.diff(said.units, prepend=-1) != 0]
                np.testing.assert_array_equal(merged, answer.speech.units)
                assert said.question == (None if form == "without_tq" else records[id].question[language].text)
                pieces[form, chunk_size, id, language] = len(said.pieces)
    counts = [pieces[*form, "d0", "en"] for form in forms]
    assert counts[1] > counts[0] == counts[3] > 1 == counts[2]


def test_the_miniature_config(experiment, tmp_path):
    """configs/miniature_speech.py as it is, with a tokenizer that knows nothing."""
    config = experiments.load(Path(__file__).parents[3] / "configs" / "miniature_speech.py")
    (corpus,) = config.corpora
    speak = dataclasses.replace(corpus.speak, cache=str(tmp_path / "spoken"))
    data = dataclasses.replace(experiment.data, languages=config.data.languages)
    prepare.make_records_of([dataclasses.replace(corpus, limit=8, speak=speak)], data)
    records = list(read_records(data.records, "spoken_dialogue"))
    assert len(records) == 8 and {language for record in records for language in record.languages} == {"en", "zh"}
    assert all(record.use == ("s2s",) and len(record.question) == len(record.answer) == 1 for record in records)


# With servers --------------------------------------------------------------------------------------


@pytest.fixture
def served(experiment, server, other_server, tmp_path, monkeypatch) -> Experiment:
    """Translated by `server` and spoken by `other_server`, both with a key."""
    monkeypatch.setenv("TEST_KEY", KEY)
    server.answer = lambda request, before: (200, {}, completion(chinese(request)))
    other_server.answer = lambda request, before: (200, {}, sound_file(waveform(request.json["input"])))
    asked = functools.partial(EndpointConfig, api_key_env="TEST_KEY", attempts=2, backoff_s=0.01)
    tts = HttpConfig(asked(other_server.url), ("anna", "bob"), body={"input": "{text}", "voice": "{voice}"})
    translator = TranslatorConfig(asked(server.url), "m", prompts={"en-zh": "{text}"}, threads=2)
    speak = SpeakConfig({"en": tts, "zh": tts}, {"en": tts, "zh": tts}, translator, str(tmp_path / "spoken"))
    return dataclasses.replace(experiment, corpora=(dataclasses.replace(experiment.corpora[0], speak=speak),))


def chinese(request) -> str:
    words = request.json["messages"][0]["content"].split()
    return "".join("一只红狗跑了"[len(word) % 6] for word in words)


def made(experiment: Experiment, folder: Path) -> dict[str, bytes]:
    """The content of what is made of its corpora in a folder."""
    data = dataclasses.replace(experiment.data, records=str(folder))
    prepare.make_records_of(experiment.corpora, data)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def with_speak(experiment: Experiment, **fields) -> Experiment:
    (corpus,) = experiment.corpora
    corpus = dataclasses.replace(corpus, speak=dataclasses.replace(corpus.speak, **fields))
    return dataclasses.replace(experiment, corpora=(corpus,))


def rejected(folder: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(folder.rglob("*.rejected.jsonl")) for line in path.read_text().splitlines()]


def test_every_direction_is_made_and_nothing_is_asked_for_twice(served, server, other_server, tmp_path):
    first = made(served, tmp_path / "first")
    records = list(read_records(tmp_path / "first", "spoken_dialogue"))
    assert len(records) == 6 and all(set(record.question) == set(record.answer) == {"en", "zh"} for record in records)
    assert len(server.requests) == 2 * 5 and len(other_server.requests) == 4 * 6
    several = dataclasses.replace(served.data, prepare=dataclasses.replace(served.data.prepare, processes=1))
    assert made(dataclasses.replace(served, data=several), tmp_path / "second") == first
    assert len(server.requests) == 2 * 5 and len(other_server.requests) == 4 * 6


def test_workers_share_what_was_spoken(served, server, other_server, tmp_path):
    """Each translates and speaks its own shards only, and together they give what one gives."""
    shared = dataclasses.replace(served.data, records=str(tmp_path / "shared"))
    prepare.make_records_of(served.corpora, shared, 1, 2)
    assert len(server.requests) == 2 * 2 and len(other_server.requests) == 4 * 2  # d2 and d3
    prepare.make_records_of(served.corpora, shared, 0, 2)
    assert made(served, tmp_path / "alone") == made(served, tmp_path / "shared")
    assert len(server.requests) == 2 * 5 and len(other_server.requests) == 4 * 6


def test_a_server_that_moved_is_no_other_server(served, server, other_server, tmp_path):
    """Where it is and how patiently it is asked decide no record."""
    tts = served.corpora[0].speak.question["en"]
    named = dataclasses.replace(tts, endpoint=dataclasses.replace(tts.endpoint, name="x"))
    moved = dataclasses.replace(named, endpoint=dataclasses.replace(named.endpoint, url=server.url, timeout_s=9))
    before = with_speak(served, question={"en": named, "zh": named}, answer={"en": named, "zh": named})
    after = with_speak(served, question={"en": moved, "zh": moved}, answer={"en": moved, "zh": moved}, failures_in_a_row=9)
    assert made(before, tmp_path / "same") == made(after, tmp_path / "same")
    louder = dataclasses.replace(named, body={**named.body, "volume": 2})
    with pytest.raises(CslmError, match="made with speak = "):
        made(with_speak(before, question={"en": louder, "zh": louder}), tmp_path / "same")


def test_what_a_server_failed_at_is_made_by_another_run(served, server, other_server, tmp_path):
    """And the end is, byte for byte, that of a run in which nothing failed."""
    whole = made(with_speak(served, cache=str(tmp_path / "other cache")), tmp_path / "whole")
    works = server.answer, other_server.answer
    server.requests.clear()
    other_server.requests.clear()

    def tts_down_for(what):
        return lambda request, before: (503, {}, b"busy") if what in request.body else works[1](request, before)

    server.answer = lambda request, before: (500, {}, b"oom") if b"no no no dog" in request.body else works[0](request, before)
    other_server.answer = tts_down_for(b"o o a red")
    made(served, tmp_path / "again")
    # d2 and all with more of them before the answer are not spoken, d3 and d4 are not even translated.
    lines = rejected(tmp_path / "again")
    assert [(line["id"], line["stage"]) for line in lines] == [("d2", "tts"), ("d3", "translate"), ("d4", "translate")]
    assert set(lines[0]) == {"id", "file", "stage", "reason"}
    for part in (other_server.url, "status 503: busy", "`answer[en]`"):
        assert part in lines[0]["reason"]
    notes = {shard.number: shard.content.get("retry") for shard in shards.of_corpus(tmp_path / "again" / "spoken")}
    assert notes == {0: None, 1: 2, 2: 1}
    kept = (tmp_path / "again" / "spoken" / "00000.json").stat().st_mtime_ns
    server.answer, other_server.answer = works
    good = collections.Counter(request.body for request in other_server.requests if b"o o a red" not in request.body)
    other_server.requests.clear()
    assert made(served, tmp_path / "again") == whole
    assert (tmp_path / "again" / "spoken" / "00000.json").stat().st_mtime_ns == kept
    assert set(good.values()) == {1} and not set(good) & {request.body for request in other_server.requests}


def test_a_server_that_is_gone_stops_the_work_and_another_run_goes_on(served, other_server, tmp_path):
    whole = made(with_speak(served, cache=str(tmp_path / "other cache")), tmp_path / "whole")
    works = other_server.answer
    other_server.requests.clear()
    other_server.answer = lambda request, before: works(request, before) if before < 9 else (502, {}, b"gone")
    with pytest.raises(CslmError, match=rf"{other_server.url} failed for 3 texts in a row, .*status 502: gone"):
        made(with_speak(served, failures_in_a_row=3), tmp_path / "again")
    assert not [path for path in (tmp_path / "again").rglob("*") if path.suffix == ".tmp"]
    other_server.answer = works
    assert made(served, tmp_path / "again") == whole


def test_an_answer_that_is_too_long_is_set_aside_for_good(served, other_server, tmp_path):
    works, endless = other_server.answer, sound_file(np.full(16000 * 40, 0.1, np.float32), 16000)
    other_server.answer = lambda request, before: (200, {}, endless) if b"no no no no" in request.body else works(request, before)
    made(served, tmp_path / "records")
    (line,) = rejected(tmp_path / "records")
    assert (line["id"], line["file"], line["stage"]) == ("d4", "d4 question[en]", "audio") and "lasts 40.00 s" in line["reason"]
    other_server.requests.clear()
    made(served, tmp_path / "records")
    assert not other_server.requests and not any("retry" in shard.content for shard in shards.finished(tmp_path / "records"))


@pytest.mark.parametrize("fails", [0, 1], ids=["translator", "synthesiser"])
def test_a_wrong_key_stops_the_work(served, server, other_server, tmp_path, fails):
    (server, other_server)[fails].answer = lambda request, before: (401, {}, b'{"error": {"message": "no such key"}}')
    with pytest.raises(CslmError, match="status 401: no such key"):
        made(served, tmp_path / "records")
    assert not list(shards.finished(tmp_path / "records"))
    assert len((server, other_server)[fails].requests) <= 8  # what other threads had begun


def test_written_dialogues_need_someone_who_speaks(experiment, tmp_path):
    (corpus,) = experiment.corpora
    with pytest.raises(CslmError, match="corpora.spoken gives written dialogues; its `speak`"):
        made(dataclasses.replace(experiment, corpora=(dataclasses.replace(corpus, speak=None),)), tmp_path / "records")


def test_the_key_is_nowhere(served, server, other_server, tmp_path, capfd, caplog):
    """Not even where a server quotes it: not in records, caches, config.json, rejected.jsonl or what is printed."""
    works = other_server.answer
    said = f"no voice for {KEY}".encode()
    other_server.answer = lambda request, before: (400, {}, said) if b"no no" in request.body else works(request, before)
    prepare.prepare(served)
    experiments.save(served, served.workdir)
    assert all(request.headers["Authorization"] == f"Bearer {KEY}" for request in server.requests + other_server.requests)
    assert "no voice for ***" in (Path(served.workdir) / "rejected.jsonl").read_text()
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) > 50 and not [path for path in found if KEY[3:].encode() in path.read_bytes()]
    assert KEY[3:] not in "".join(capfd.readouterr()) + caplog.text
    assert experiments.load_run(served.workdir) == served


SPEAKING = """
import json, sys, cattrs
from cslm_jax.data import corpora
from cslm_jax.data.speak.dialogues import spoken
corpus = cattrs.structure(json.loads(sys.argv[1]), corpora.CorpusConfig)
for item in spoken(corpora.read(corpus), corpus):
    for recording in corpora.recordings(item):
        recording.load()
"""


def test_a_killed_run_pays_for_nothing_twice(served, server, other_server):
    """SIGKILL in the middle: only what was in flight then is asked for again."""
    corpus = CorpusConfig("spoken", "miniature", "dialogues", limit=12, speak=served.corpora[0].speak)
    works = other_server.answer
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def speaking():
        command = [sys.executable, "-c", SPEAKING, json.dumps(dataclasses.asdict(corpus))]
        return subprocess.Popen(command, env=environment)

    def kills(request, before):
        if before == 7:
            process.send_signal(signal.SIGKILL)
        return works(request, before)

    other_server.answer = kills
    process = speaking()
    assert process.wait(60) == -signal.SIGKILL
    assert speaking().wait(60) == 0
    spoken = collections.Counter(request.body for request in other_server.requests)
    translated = collections.Counter(request.body for request in server.requests)
    assert len(spoken) > 15 and [count for count in spoken.values() if count > 1] in ([], [2])
    assert len(translated) > 8 and max(translated.values()) <= 2 and list(translated.values()).count(2) <= 2
