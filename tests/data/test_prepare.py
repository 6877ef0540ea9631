"""From sound files to records: bad input set aside with its reason, the rest prepared, nothing done twice."""

import dataclasses
import functools
import json
import threading
import weakref
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import soundfile
from killing import content_of

from cslm_jax.config import Experiment
from cslm_jax.data import corpora, prepare, shards
from cslm_jax.data.config import DataConfig, PrepareConfig
from cslm_jax.data.corpora import CorpusConfig, Recording, SpokenDialogueItem
from cslm_jax.data.progress import Progress, size
from cslm_jax.data.recording import make_records
from cslm_jax.data.records import Dialogue, Translation, read_records
from cslm_jax.errors import CslmError
from cslm_jax.miniature.voices import Voice, speak
from cslm_jax.speech.ctc import Labels
from cslm_jax.speech.s3_config import S3Config
from cslm_jax.speech.tokenizer import Analysis, SpeechTokenizer, new_model
from cslm_jax.speech.units import Speech
from cslm_jax.vocabulary import JointVocabulary

LABELS = Labels.from_texts(["abcdefghijklmnopqrstuvwxyz ", "一只红狗跑了"])


@functools.cache
def tokenizer() -> SpeechTokenizer:
    """Random weights: what matters here is what is done with units, not which they are."""
    sizes = S3Config(mels=40, width=16, heads=2, layers=1, codes=50, recogniser_layers=0)
    return SpeechTokenizer(new_model(sizes, LABELS), LABELS, batch_seconds=8)


def sound(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate)).astype(np.float32)


def make_corpus(folder: Path) -> Path:
    """Good recordings in four formats, and one of every kind of bad one."""
    folder.mkdir()
    soundfile.write(folder / "good.wav", sound(1.0), 16000)
    soundfile.write(folder / "stereo.flac", np.stack([sound(1.0), sound(1.0, seed=1)], axis=1), 16000)
    soundfile.write(folder / "phone.wav", sound(1.0, 8000), 8000)
    soundfile.write(folder / "studio.wav", sound(1.0, 48000), 48000)
    soundfile.write(folder / "empty.wav", sound(0.0), 16000)
    soundfile.write(folder / "zeros.wav", np.zeros(16000, np.float32), 16000)
    soundfile.write(folder / "nan.wav", np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    (folder / "cut.wav").write_bytes((folder / "good.wav").read_bytes()[:9000])
    (folder / "text.wav").write_text("this is not a sound at all " * 30)
    rows = [(f"{path.name}", "a red dog") for path in sorted(folder.iterdir())]
    rows += [("missing.wav", "a red dog"), ("good.wav", "a second line for the same file")]
    (folder / "manifest.tsv").write_text("\ufefffile\ttext\r\n" + "".join(f"{file}\t{text}\r\n" for file, text in rows))
    return folder


GOOD_FILES = {"good.wav", "stereo.flac", "phone.wav", "studio.wav"}


def made_from(items, languages=("en", "zh"), corpus=CorpusConfig("c", "manifest")):
    return list(make_records(items, corpus, languages, tokenizer))


def recording(id: str, text: str, language: str = "en", seconds: float = 1.5) -> Recording:
    return Recording(id, language, text, functools.partial(sound, seconds, seed=len(id)))


def test_bad_sound_is_set_aside_and_the_rest_goes_on(tmp_path):
    folder = make_corpus(tmp_path / "corpus")
    made = made_from(corpora.read(CorpusConfig("c", "manifest", str(folder))))
    good = {result.id for result in made if not isinstance(result, corpora.Rejected)}
    reasons = {Path(result.file).name: result.reason for result in made if isinstance(result, corpora.Rejected)}
    assert good == GOOD_FILES
    assert set(reasons) == {"empty.wav", "zeros.wav", "nan.wav", "cut.wav", "text.wav", "missing.wav", "good.wav"}
    for file, word in [("empty", "empty"), ("zeros", "zero"), ("nan", "NaN"), ("cut", "truncated"), ("text", "sound")]:
        assert word in reasons[f"{file}.wav"]
    assert "second record with the id good.wav" in reasons["good.wav"]


@pytest.mark.parametrize("text", ["", "  ", "<COMMA> <PERIOD>"])
def test_a_text_of_which_normalisation_leaves_nothing(tmp_path, text):
    soundfile.write(tmp_path / "a.opus", sound(3.0), 16000, format="OGG", subtype="OPUS")
    segments = [
        {"sid": id, "begin_time": begin, "end_time": begin + 1.5, "text_tn": said, "subsets": ["{XL}"]}
        for id, begin, said in (("empty", 0, text), ("good", 1.5, "RED DOGS"))
    ]
    (tmp_path / "GigaSpeech.json").write_text(json.dumps({"audios": [{"path": "a.opus", "segments": segments}]}))
    empty, good = made_from(corpora.read(CorpusConfig("c", "gigaspeech", str(tmp_path))))
    assert (empty.id, empty.stage, good.id, good.text) == ("empty", "text", "good", "RED DOGS")
    assert "field `text`" in empty.reason and empty.file == str(tmp_path / "a.opus")


def test_units_do_not_depend_on_the_grouping(tmp_path):
    items = list(corpora.read(CorpusConfig("c", "manifest", str(make_corpus(tmp_path / "corpus")))))
    corpus = CorpusConfig("c", "manifest")
    alone, together = (list(make_records(items, corpus, ("en",), tokenizer, together=n)) for n in (1, 64))
    assert alone == together


def dialogue(question: str, answer: Recording) -> SpokenDialogueItem:
    return SpokenDialogueItem("a", {"en": recording("q", question)}, {"en": answer})


@pytest.mark.parametrize(
    ("item", "stage", "says"),
    [
        (recording("a", " "), "text", "`text` is empty"),
        (Recording("a", "en", "?!", functools.partial(speak, "?!", "en", Voice())), "text", "nothing to say"),
        (recording("a", "?!"), "text", "nothing that can be spoken"),
        (recording("a", "un chien", "fr"), "record", "`language` is 'fr'"),
        (recording("a", "a red dog", seconds=40), "audio", "40.00 s"),
        (Translation(id="a", texts={"en": "dog", "fr": "chien"}), "record", "'fr'"),
        (SpokenDialogueItem("a", {}, {"fr": recording("r", "un chien", "fr")}), "record", "`language` is 'fr'"),
        (dialogue("why", recording("r", "007 080")), "align", "alphabet"),
        (dialogue("why", recording("r", "many words " * 30, seconds=0.5)), "align", "frames"),
        (dialogue("", recording("r", "a dog")), "text", "empty"),
    ],
)  # fmt: skip
def test_items_that_cannot_be_used(item, stage, says):
    good = recording("good", "a red dog")
    rejected, kept = made_from([item, good])
    assert (rejected.id, rejected.stage, kept.id) == ("a", stage, "good") and says in rejected.reason


def test_answers_are_aligned_and_questions_are_not():
    item = SpokenDialogueItem(
        "s", {"en": recording("q", "why")}, {"en": recording("a", "a red dog"), "zh": recording("b", "一只红狗", "zh")}
    )
    (record,) = made_from([item])
    assert not record.question["en"].words
    for language, count in (("en", 3), ("zh", 4)):
        spoken = record.answer[language]
        assert len(spoken.words) == count and spoken.words[-1].end_s <= spoken.speech.seconds + 1e-6
        assert spoken.speech.seconds == pytest.approx(1.5, abs=0.05)


def test_text_needs_no_tokenizer():
    def none():
        raise AssertionError("the tokenizer was asked for")

    items = [
        Translation(id="t", texts={"en": "dog", "zh": "狗"}),
        Dialogue(id="d", language="en", turns=(("user", "a"), ("assistant", "b"))),
    ]
    made = list(make_records(items, CorpusConfig("c", "manifest", use=("mt",)), ("en", "zh"), none))
    assert [record.id for record in made] == ["t", "d"] and made[0].use == ("mt",)


def test_loading_tokenising_and_writing_go_on_at_once():
    """When the first record is taken, the device has the next recordings, and the sound of those behind them is being loaded."""
    loading, analysing = [], threading.Semaphore(0)

    class Tokenizer:
        def analyse_each(self, sounds):
            analysing.release()
            return [Analysis(Speech.from_frames(np.arange(len(sound) % 7 + 1)), None) for sound in sounds]

    def load(recordings):
        loading.append([recording.id for recording in recordings])
        return (np.ones(int(recording.id[1:])) for recording in recordings)

    items = [recording(f"r{i}", "a red dog") for i in range(10)]
    made = make_records(items, CorpusConfig("c", "manifest"), ("en",), Tokenizer, load, together=2)
    results = [next(made)]
    assert loading == [["r0", "r1"], ["r2", "r3"], ["r4", "r5"]]
    assert analysing.acquire(timeout=20) and analysing.acquire(timeout=20), "the second group waits for the first to be written"
    results += made
    assert [(result.id, len(result.speech.units)) for result in results] == [(f"r{i}", i % 7 + 1) for i in range(10)]


def test_half_of_the_items_for_each_use():
    corpus = CorpusConfig("c", "manifest", use=("asr", "tts"), share="one")
    uses = [corpus.uses_of(f"u{i}") for i in range(1000)]
    assert 450 < uses.count(("asr",)) < 550 and len(set(uses)) == 2
    assert dataclasses.replace(corpus, share="all").uses_of("u0") == ("asr", "tts")


# The command ---------------------------------------------------------------------------------------


@pytest.fixture
def experiment(tmp_path, vocabulary_directory, monkeypatch) -> Experiment:
    tokenizer().save(tmp_path / "tokenizer")
    # One tokenizer for all tests, so that its programs are compiled once.
    monkeypatch.setattr(prepare.SpeechTokenizer, "load", lambda *_, **__: tokenizer())
    make_corpus(tmp_path / "corpus")
    data = DataConfig(
        records=str(tmp_path / "records"), vocabulary=str(vocabulary_directory), cache=str(tmp_path / "cache"),
        tokenizer=str(tmp_path / "tokenizer"), prepare=PrepareConfig(shard_items=4, processes=0), row_length=64,
    )  # fmt: skip
    corpus = CorpusConfig("mine", "manifest", str(tmp_path / "corpus"), use=("asr",))
    return Experiment("test", str(tmp_path / "work"), corpora=(corpus,), data=data)


def test_prepare_writes_records_caches_and_what_it_set_aside(experiment, capsys):
    prepare.prepare(experiment)
    work = Path(experiment.workdir)
    assert {record.id for record in read_records(experiment.data.records, "utterance")} == GOOD_FILES
    rejected = [json.loads(line) for line in (work / "rejected.jsonl").read_text().splitlines()]
    assert all(set(line) == {"id", "file", "stage", "reason"} for line in rejected)
    summary = json.loads((work / "summary.json").read_text())
    assert summary["corpora"]["mine"]["kept"] == 4 and summary["corpora"]["mine"]["rejected"] == 7
    assert summary["corpora"]["mine"]["hours"] == pytest.approx(4 / 3600, rel=0.05)
    task = summary["tasks"]["asr_en"]
    # With rows this short everything is longer: it is counted, and named.
    assert task["examples"] + task["longer_than_row"] == 4 and task["longer_than_row"] > 0
    assert sum("longer than a row of 64" in line["reason"] for line in rejected) >= task["longer_than_row"]
    assert "asr_en" in capsys.readouterr().out and not summary["not_made_yet"]


def test_names_that_are_no_text_are_set_aside(experiment, tmp_path):
    """A name of a file in Latin-1, as old archives unpack, and half an emoji: in ids, texts and speakers."""
    good, bad = "good.wav", "caf\udce9.wav"
    rows = [{"file": bad, "text": "a dog"}, {"file": good, "text": "a \ud83d"}, {"file": good, "text": "a dog"}]
    rows += [{"file": good, "id": "spoken", "text": "a dog", "speaker": "\ud83d"}]
    (tmp_path / "corpus" / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare.prepare(experiment)
    assert [record.id for record in read_records(experiment.data.records, "utterance")] == [good]
    lines = [json.loads(line) for line in (tmp_path / "work" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines[:3]] == [bad, good, "spoken"]
    assert all("half a surrogate pair" in line["reason"] for line in lines[:3])


def test_a_summary_of_half_the_work_lists_what_is_not_made_yet(experiment, tmp_path, capsys):
    prepare.make_records_of(experiment.corpora, experiment.data)
    prepare.ensure.make_missing_caches(experiment.data, ["asr_en"])
    prepare.prepare(experiment, summary=True)
    summary = json.loads((tmp_path / "work" / "summary.json").read_text())
    assert list(summary["tasks"]) == ["asr_en"] and "tts_en" in summary["not_made_yet"]
    assert "not made yet: asr_zh, tts_en" in capsys.readouterr().out


@pytest.mark.parametrize("worker", ["0/1", "1/2"])
@pytest.mark.parametrize(("codes", "says"), [(None, "no usable vocabulary"), (49, "has 50 codes and the vocabulary .* 49")])
def test_a_vocabulary_that_does_not_fit_is_told_before_the_work(experiment, tmp_path, vocabulary, worker, codes, says):
    if codes:
        JointVocabulary(vocabulary.text, codes).save(tmp_path / "small")
    data = dataclasses.replace(experiment.data, vocabulary=str(tmp_path / "small"))
    with pytest.raises(CslmError, match=says):
        prepare.prepare(dataclasses.replace(experiment, data=data), worker=worker)
    assert not Path(data.records).exists()


def test_workers_give_what_one_gives(experiment, tmp_path):
    others = dataclasses.replace(experiment.data, records=str(tmp_path / "others"))
    prepare.make_records_of(experiment.corpora, experiment.data)
    for worker in (2, 0, 1):
        prepare.make_records_of(experiment.corpora, others, worker, 3)
    assert content_of(tmp_path / "records") == content_of(tmp_path / "others")


def test_a_corpus_of_any_size_takes_the_memory_of_a_few_shards(experiment, monkeypatch):
    made, most = [], 0

    def items(corpus):
        nonlocal most
        for i in range(400):
            item = Translation(id=f"t{i}", texts={"en": f"dog {i}", "zh": f"狗 {i}"})
            made.append(weakref.ref(item))
            most = max(most, sum(each() is not None for each in made))
            yield item

    monkeypatch.setattr(corpora, "read", items)
    data = dataclasses.replace(experiment.data, prepare=PrepareConfig(shard_items=10, processes=0, together=10))
    prepare.make_records_of([CorpusConfig("texts", "miniature")], data)
    assert len(list(read_records(data.records, "translation"))) == 400
    assert 10 <= most <= 60


def test_caches_and_summary_of_workers_are_those_of_one(experiment, tmp_path):
    """And a last run without --worker does what is left, and no more."""
    others = dataclasses.replace(experiment.data, records=str(tmp_path / "others"), cache=str(tmp_path / "other_cache"))
    shared = dataclasses.replace(experiment, data=others)
    prepare.prepare(experiment)
    for worker in ("1/2", "0/2"):
        prepare.prepare(shared, worker=worker)
    assert not Path(others.cache).exists()
    prepare.prepare(shared, worker="1/3", caches=True)
    some = sorted(path.name for path in Path(others.cache).iterdir())
    assert 0 < len(some) < len(list(Path(experiment.data.cache).iterdir()))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("other*/**/*") if path.is_file()}
    prepare.prepare(shared)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert content_of(tmp_path / "cache") == content_of(tmp_path / "other_cache")
    assert content_of(tmp_path / "records") == content_of(tmp_path / "others")


def test_the_bar_says_how_much_is_left(capsys):
    """As soon as it is known, which other processes find out."""
    shards, items = size(CorpusConfig("c", "miniature", "translations", limit=95), 10, worker=1, workers=3, done={1})
    assert (shards, items) == (2, 20)  # 1, 4 and 7, of which the first is done
    assert size(CorpusConfig("c", "miniature", "translations", limit=95), 10, worker=0, workers=3, done=set()) == (4, 35)
    future = Future()
    record = Translation(id="t", texts={"en": "dog", "zh": "狗"})
    with Progress("c", lambda: future) as progress:
        progress.begin_shard()
        progress.count(record)
        future.set_result((2, 20))
        progress.count(record)
        progress._bar.refresh()
    said = capsys.readouterr().err
    assert "shard 1 of 2" in said and "/20.0" in said


def test_an_interrupted_preparation_resumes(experiment, tmp_path, monkeypatch):
    """Killed after the first shard: what is finished stays, the rest is made, and the end is the same."""
    prepare.make_records_of(experiment.corpora, experiment.data)
    whole = content_of(tmp_path / "records")
    later = dataclasses.replace(experiment.data, records=str(tmp_path / "again"))
    write = prepare.write_records

    def killed(directory, records, rejected, number, notes):
        if number == 1:
            raise KeyboardInterrupt
        write(directory, records, rejected, number, notes)

    monkeypatch.setattr(prepare, "write_records", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare.make_records_of(experiment.corpora, later)
    assert [shard.number for shard in shards.of_corpus(tmp_path / "again" / "mine")] == [0]
    numbers = []
    monkeypatch.setattr(prepare, "write_records", lambda *args: (numbers.append(args[3]), write(*args)))
    prepare.make_records_of(experiment.corpora, later)
    assert numbers == [1, 2]
    assert content_of(tmp_path / "again") == whole


def modified(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}


def test_nothing_is_made_twice(experiment, tmp_path):
    prepare.make_records_of(experiment.corpora, experiment.data)
    before = modified(tmp_path / "records" / "mine")
    prepare.make_records_of(experiment.corpora, experiment.data)
    assert modified(tmp_path / "records" / "mine") == before


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda table: table + "good.wav\tanother line\r\n" * 2, {2, 3}),
        (lambda table: table.replace("studio.wav\ta red dog", "studio.wav\ta dog"), {1}),
    ],
)
def test_shards_of_other_items_are_made_again(experiment, tmp_path, change, again):
    """A corpus that grew or was corrected: what differs is made, what does not is left, and the end is that of a fresh run."""
    prepare.make_records_of(experiment.corpora, experiment.data)
    before = modified(tmp_path / "records" / "mine")
    table = tmp_path / "corpus" / "manifest.tsv"
    table.write_bytes(change(table.read_bytes().decode()).encode())
    prepare.make_records_of(experiment.corpora, experiment.data)
    after = modified(tmp_path / "records" / "mine")
    assert {int(name[:5]) for name in after if name != "recipe.json" and after[name] != before.get(name)} == again
    fresh = dataclasses.replace(experiment.data, records=str(tmp_path / "fresh"))
    prepare.make_records_of(experiment.corpora, fresh)
    assert content_of(tmp_path / "records") == content_of(tmp_path / "fresh")


def test_a_corrected_segment_makes_its_shard_again_and_no_other(experiment, tmp_path):
    soundfile.write(tmp_path / "corpus" / "long.wav", sound(12.0), 16000)
    table = tmp_path / "corpus" / "manifest.tsv"
    rows = [f"s{i}\tlong.wav\ta red dog\t{i}\t{i + 1}" for i in range(10)]
    table.write_text("\n".join(["id\tfile\ttext\tstart\tend", *rows]))
    prepare.make_records_of(experiment.corpora, experiment.data)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "records" / "mine").iterdir()}
    table.write_text(table.read_text().replace("\t5\t6", "\t5\t8"))
    prepare.make_records_of(experiment.corpora, experiment.data)
    assert {path.name[:5] for path, at in written.items() if path.stat().st_mtime_ns != at} == {"00001"}
    seconds = {record.id: record.speech.seconds for record in read_records(experiment.data.records, "utterance")}
    assert seconds["s5"] == pytest.approx(3.0, abs=0.05) and seconds["s6"] == pytest.approx(1.0, abs=0.05)


def test_a_corpus_that_moved_is_told_so_and_not_made_again(experiment, tmp_path):
    prepare.make_records_of(experiment.corpora, experiment.data)
    before = content_of(tmp_path / "records" / "mine")
    (tmp_path / "corpus").rename(tmp_path / "moved")
    moved = [dataclasses.replace(experiment.corpora[0], path=str(tmp_path / "moved"))]
    with pytest.raises(CslmError, match="if it only moved, write its new path into .*recipe.json"):
        prepare.make_records_of(moved, experiment.data)
    recipe = tmp_path / "records" / "mine" / "recipe.json"
    recipe.write_text(recipe.read_text().replace(str(tmp_path / "corpus"), str(tmp_path / "moved")))
    prepare.make_records_of(moved, experiment.data)
    after = content_of(tmp_path / "records" / "mine")
    assert after | {"recipe.json": b""} == before | {"recipe.json": b""}


def test_a_new_language_makes_the_shards_again_that_set_it_aside(experiment, tmp_path):
    prepare.make_records_of(experiment.corpora, dataclasses.replace(experiment.data, languages=("zh",)))
    assert not list(read_records(experiment.data.records, "utterance"))
    prepare.make_records_of(experiment.corpora, experiment.data)
    assert len(list(read_records(experiment.data.records, "utterance"))) == len(GOOD_FILES)


def test_a_corpus_that_shrank_is_named_and_nothing_is_deleted(experiment, tmp_path):
    prepare.make_records_of(experiment.corpora, experiment.data)
    table = tmp_path / "corpus" / "manifest.tsv"
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:9]))
    with pytest.raises(CslmError, match="corpora.mine has items for 2 shards now.*delete the shards from 00002 on"):
        prepare.make_records_of(experiment.corpora, experiment.data)
    assert [shard.number for shard in shards.of_corpus(tmp_path / "records" / "mine")] == [0, 1, 2]


def test_sound_is_loaded_in_other_processes(experiment, tmp_path):
    prepare.make_records_of(experiment.corpora, experiment.data)
    several = dataclasses.replace(experiment.data.prepare, processes=1)
    others = dataclasses.replace(experiment.data, records=str(tmp_path / "others"), prepare=several)
    prepare.make_records_of(experiment.corpora, others)
    assert content_of(tmp_path / "records") == content_of(tmp_path / "others")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda e: dataclasses.replace(e, corpora=(dataclasses.replace(e.corpora[0], use=("tts",)),)), "use = "),
        (
            lambda e: dataclasses.replace(
                e, data=dataclasses.replace(e.data, prepare=dataclasses.replace(e.data.prepare, max_seconds=60.0))
            ),
            "made with max_seconds = 30.0, the config has 60.0",
        ),
        (lambda e: dataclasses.replace(e, corpora=e.corpora * 2), "two corpora have the same name"),
        (lambda e: dataclasses.replace(e, corpora=(dataclasses.replace(e.corpora[0], path="nowhere"),)), "path"),
        (lambda e: dataclasses.replace(e, corpora=(CorpusConfig("b", "manifests"),)), "Did you mean 'manifest'"),
        (
            lambda e: dataclasses.replace(e, corpora=(CorpusConfig("b", "manifest", "nowhere"),)),
            "nowhere is not there",
        ),
    ],
)
def test_mistakes_are_named(experiment, change, says):
    prepare.make_records_of(experiment.corpora, experiment.data)
    changed = change(experiment)
    with pytest.raises(CslmError, match=says):
        prepare.make_records_of(changed.corpora, changed.data)


def test_another_tokenizer_is_noticed(experiment):
    prepare.make_records_of(experiment.corpora, experiment.data)
    SpeechTokenizer(new_model(tokenizer().config, LABELS, seed=1), LABELS).save(experiment.data.tokenizer)
    with pytest.raises(CslmError, match="another speech tokenizer"):
        prepare.make_records_of(experiment.corpora, experiment.data)


@pytest.mark.parametrize("worker", ["2/2", "x", "1", "-1/2"])
def test_a_worker_is_written_i_of_n(experiment, worker):
    with pytest.raises(CslmError, match="write i/N"):
        prepare.prepare(experiment, worker=worker)
