"""Token caches and the seqio registry: the same examples by either way, bad records set aside, nothing made twice."""

import dataclasses
import json
from pathlib import Path

import msgpack
import numpy as np
import pytest
from made_up_world import make_records

from cslm_jax.data import caches, ensure, files, shards
from cslm_jax.data.catalogue import mixture_weights, tasks
from cslm_jax.data.examples import examples
from cslm_jax.data.records import Utterance, read_records, to_bytes, write_records
from cslm_jax.errors import CslmError
from cslm_jax.speech.units import Speech
from cslm_jax.vocabulary import JointVocabulary

seqio = pytest.importorskip("seqio")
tf = pytest.importorskip("tensorflow")


def cache_of(config, task) -> caches.Cache:
    vocabulary = JointVocabulary.load(config.vocabulary)
    return caches.Cache(caches.find(config, caches.recipe(config, tasks(config.languages)[task], vocabulary.sha256)))


def test_a_cache_holds_the_examples_of_its_records(prepared, vocabulary):
    for task in ("asr_zh", "s2s_en_zh", "text_en"):
        spec = tasks(prepared.languages)[task]
        kind = {"asr": "utterance", "s2s": "spoken_dialogue", "text": "dialogue"}[spec.family]
        expected = [
            example
            for record in read_records(prepared.records, kind, "train")
            for example in examples(record, spec, prepared, vocabulary)
        ]
        cache = cache_of(prepared, task)
        assert cache.ids == [example.id for example in expected]
        tokens, weights = cache.read(np.arange(len(expected)))
        assert np.array_equal(tokens, np.concatenate([example.tokens for example in expected]))
        assert np.array_equal(weights, np.concatenate([example.loss_weights for example in expected]))


@pytest.fixture(scope="module")
def registered(prepared):
    from cslm_jax.data import mixtures

    mixtures.register(prepared)
    return prepared


@pytest.mark.parametrize("task", ["tts_en", "s2s_zh_zh", "text_stage0"])
def test_seqio_gives_what_the_cache_holds(registered, task):
    cache = cache_of(registered, task)
    dataset = seqio.get_mixture_or_task(task).get_dataset(sequence_length=None, split="train", shuffle=False)
    for i, example in enumerate(dataset.take(50).as_numpy_iterator()):
        tokens, weights = cache.read(np.array([i]))
        assert np.array_equal(example["tokens"], tokens) and np.array_equal(example["loss_weights"], weights)
    assert i == 49


def test_mixtures_are_in_the_registry(registered):
    assert {"cslm_text", "cslm_cpt", "cslm_sft"} <= set(seqio.MixtureRegistry.names())
    mixture = seqio.get_mixture_or_task("cslm_cpt")
    assert "mt_en_zh" in [task.name for task in mixture.tasks]
    lengths = {"tokens": 256, "loss_weights": 256}
    for example in mixture.get_dataset(lengths, split="train", shuffle=True, seed=1).take(5).as_numpy_iterator():
        assert len(example["tokens"]) == len(example["loss_weights"]) <= 256


def test_held_out_records_are_the_validation_split(registered):
    dataset = seqio.get_mixture_or_task("asr_en").get_dataset(None, split="validation", shuffle=False)
    ids = [example["id"].decode() for example in dataset.as_numpy_iterator()]
    held_out = read_records(registered.records, "utterance", "validation")
    assert ids == [record.id for record in held_out if record.language == "en"]
    assert not set(ids) & set(cache_of(registered, "asr_en").ids)


def test_seqio_vocabulary(registered, vocabulary):
    feature = seqio.get_mixture_or_task("asr_en").output_features["tokens"].vocabulary
    string = "<|begin_of_text|>a dog<sosp><3><14><eosp>狗"
    ids = feature.encode(string)
    assert ids == vocabulary.encode(string) and feature.decode(ids) == string
    assert feature.encode_tf(string).numpy().tolist() == ids
    assert feature.decode_tf(tf.constant(ids)).numpy().decode() == string
    assert (feature.vocab_size, feature.bos_id, feature.eos_id) == (vocabulary.size, vocabulary.bos, vocabulary.eot)


@pytest.fixture
def with_bad_records(tmp_path, vocabulary_directory, prepared):
    """Good records, one with a unit the vocabulary has not; on disk, one whose text is empty and one that is no record."""
    beyond = Utterance(id="beyond", language="en", text="a dog", speech=Speech.from_frames(np.array([1, 4450, 2])))
    write_records(tmp_path / "records" / "world", [*make_records(20), beyond])
    empty = msgpack.packb({**msgpack.unpackb(to_bytes(beyond)), "id": "empty", "text": ""})
    for content in (empty, b"\xc1 no record"):
        _append(tmp_path / "records" / "world" / "00000.json", content)
    config = dataclasses.replace(prepared, records=str(tmp_path / "records"), cache=str(tmp_path / "cache"))
    ensure.make_missing_caches(config, ["asr_en", "tts_zh"])
    return config


def _append(shard: Path, record: bytes) -> None:
    content = json.loads(shard.read_text())
    path = shards.Shard(shard, content).file("utterance")
    every = [*files.RecordFile(path, content["records"]["utterance"]["count"], "make it again"), record]
    with files.record_writer(path) as writer:
        for each in every:
            writer.write(each)
    content["records"]["utterance"]["count"] = len(every)
    shard.write_text(json.dumps(content))


def test_bad_records_are_set_aside_and_the_rest_goes_on(with_bad_records):
    cache = cache_of(with_bad_records, "asr_en")
    assert len(cache.lengths) == 18
    rejected = list(cache.rejected())
    expected = {("beyond", "units"), ("empty", "record"), ("without id", "record")}
    assert {(line["id"], line["stage"]) for line in rejected} == expected
    assert any("<4450>" in line["reason"] for line in rejected) and any("`text`" in line["reason"] for line in rejected)
    assert cache.manifest["rejected"] == 3


def test_nothing_is_made_twice_unless_the_form_changes(copied):
    """Another chunk size makes the caches of spoken answers again, and no others; weights make none."""

    def manifests():
        return {path: path.stat().st_mtime_ns for path in Path(copied.cache).glob("*/*/manifest.json")}

    before = manifests()
    ensure.ensure_caches(dataclasses.replace(copied, mixture="cslm_sft", weights={"mt_en_zh": 0.5}, row_length=128))
    assert manifests() == before
    ensure.ensure_caches(dataclasses.replace(copied, mixture="cslm_sft", chunk_size=4))
    after = manifests()
    assert {path: after[path] for path in before} == before
    assert sorted(path.parent.parent.name for path in set(after) - set(before)) == [
        "s2s_en_en", "s2s_en_zh", "s2s_zh_en", "s2s_zh_zh",
    ]  # fmt: skip


@pytest.fixture
def another_vocabulary(tmp_path, vocabulary) -> str:
    JointVocabulary(vocabulary.text, vocabulary.codes + 1).save(tmp_path / "another")
    return str(tmp_path / "another")


def test_training_does_not_silently_make_caches_for_another_vocabulary(copied, another_vocabulary, vocabulary):
    """But `cslm prepare` does, for it was asked to."""
    config = dataclasses.replace(copied, vocabulary=another_vocabulary)
    before = set(Path(copied.cache).glob("*/*"))
    with pytest.raises(CslmError, match=f"asr_en has no cache .*manifest.json .*vocabulary {vocabulary.sha256[:12]}"):
        ensure.ensure_caches(config)
    assert set(Path(copied.cache).glob("*/*")) == before
    ensure.make_missing_caches(config, ["asr_en"])
    ensure.ensure_caches(dataclasses.replace(config, weights=only("asr_en")))


def only(task: str) -> dict[str, float]:
    return dict.fromkeys(mixture_weights("cslm_cpt", ("en", "zh")), 0.0) | {task: 1.0}


def test_a_task_without_any_cache_gets_one_before_training(copied):
    config = dataclasses.replace(copied, cache=f"{copied.cache}-new", weights=only("mt_en_zh"))
    ensure.ensure_caches(config)
    assert [path.name for path in Path(config.cache).iterdir()] == ["mt_en_zh"]


def test_a_half_written_cache_is_no_cache(copied):
    """What a killed process leaves behind is neither read nor taken for one that differs."""
    Path(copied.cache, "asr_en", ".0123.abcd.tmp").mkdir()
    Path(copied.cache, "asr_en", ".0123.abcd.tmp", "manifest.json").write_text("{")
    ensure.ensure_caches(dataclasses.replace(copied, split="validation", weights=only("asr_en")))


def test_a_damaged_manifest_is_named_whatever_is_looked_for(copied):
    """It may be the one that is wanted: it is not passed over."""
    (path,) = Path(copied.cache, "asr_en").glob("*/manifest.json")
    for content in ("{", "{}"):
        path.write_text(content)
        with pytest.raises(CslmError, match=f"{path} is truncated or corrupted.*delete the folder {path.parent}"):
            ensure.ensure_caches(dataclasses.replace(copied, split="validation", weights=only("asr_en")))


def test_ids_and_reasons_with_other_line_breaks_come_back(tmp_path):
    """U+2028 and U+0085 break lines for some readers and not for others."""
    example = caches.Example("a b", np.arange(3, dtype=np.int32), np.ones(3, np.float32))
    rejected = [{"id": "b", "file": "", "stage": "text", "reason": "odd \u2028 and \x85 and \r\n"}]

    def read(reject):
        for line in rejected:
            reject(line)
        yield from [example, example]

    assert caches.write(tmp_path / "cache", {"task": "asr_en"}, read) == 1
    cache = caches.Cache(tmp_path / "cache")
    assert cache.ids == ["a b", "a b"] and list(cache.rejected()) == rejected


def test_caches_are_byte_identical(prepared, tmp_path):
    again = dataclasses.replace(prepared, cache=str(tmp_path / "cache"))
    ensure.make_missing_caches(again, ["s2s_en_zh"])
    one, two = (sorted(cache_of(config, "s2s_en_zh").directory.iterdir()) for config in (prepared, again))
    assert [(path.name, path.read_bytes()) for path in one] == [(path.name, path.read_bytes()) for path in two]


def test_a_damaged_shard_is_named_and_leaves_nothing_behind(copied):
    path = Path(copied.records, "world", "00000.translation.arrayrecord")
    path.write_bytes(path.read_bytes()[:100])
    config = dataclasses.replace(copied, cache=f"{copied.cache}-new")
    with pytest.raises(CslmError, match="00000.translation.arrayrecord is truncated"):
        ensure.make_missing_caches(config, ["mt_en_zh"])
    assert not [each for each in Path(config.cache).rglob("*") if each.is_file()]


def test_without_records_nothing_can_be_made(prepared, tmp_path):
    config = dataclasses.replace(prepared, records=str(tmp_path / "none"), cache=str(tmp_path / "cache"))
    with pytest.raises(CslmError, match="task asr_en has no cache"):
        ensure.ensure_caches(config)
