"""The step number is the whole data state: batches, their mixing, their host slices, and what happens to bad caches."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest

from cslm_jax.data import caches
from cslm_jax.data.catalogue import mixture_weights, tasks
from cslm_jax.data.ensure import ensure_caches
from cslm_jax.data.loader import Loader
from cslm_jax.data.records import Utterance, write_records
from cslm_jax.errors import CslmError
from cslm_jax.speech.units import Speech
from cslm_jax.vocabulary import JointVocabulary


@pytest.fixture(scope="module")
def loader(prepared, vocabulary) -> Loader:
    return Loader(prepared, vocabulary)


def test_rows_are_whole_examples(loader, prepared, vocabulary):
    """Every segment is an example of its task's cache: tokens, weights, positions from 0, padding in segment 0."""
    batch = loader.batch(3)
    for row, task in enumerate(batch["task"]):
        cache = caches.Cache(_directory(prepared, vocabulary, loader.tasks[task]))
        by_id = {id: i for i, id in enumerate(cache.ids)}
        segments = batch["segment_ids"][row]
        for segment, id in enumerate(loader.record_ids(3, row), 1):
            mine = segments == segment
            tokens, weights = cache.read(np.array([by_id[id]]))
            assert np.array_equal(batch["tokens"][row][mine], tokens)
            assert np.array_equal(batch["loss_weights"][row][mine], weights)
            assert np.array_equal(batch["positions"][row][mine], np.arange(len(tokens)))
        padding = segments == 0
        assert segments.max() == segment
        assert not batch["loss_weights"][row][padding].any() and not batch["positions"][row][padding].any()


def _directory(config, vocabulary, task):
    return caches.find(config, caches.recipe(config, tasks(config.languages)[task], vocabulary.sha256))


def test_a_batch_is_a_function_of_the_step(loader, prepared, vocabulary):
    again = Loader(prepared, vocabulary)
    for step in (7, 0, 1000):
        for name, array in again.batch(step).items():
            assert np.array_equal(array, loader.batch(step)[name])
    assert loader.global_sha256(7) == again.global_sha256(7) != loader.global_sha256(8)


def test_the_global_batch_is_the_same_for_any_number_of_processes(loader, prepared, vocabulary):
    for processes in (1, 2, 4, 8):
        parts = [Loader(prepared, vocabulary, process, processes) for process in range(processes)]
        for step in (0, 5):
            for name, array in loader.global_batch(step).items():
                assert np.array_equal(np.concatenate([part.batch(step)[name] for part in parts]), array)
        assert {part.global_sha256(5) for part in parts} == {loader.global_sha256(5)}


def test_a_process_may_need_rows_that_do_not_lie_together(loader, prepared, vocabulary):
    """As on a TPU slice, whose mesh follows the torus; the fingerprint stays that of the global batch."""
    rows = [0, 1, 5, 7]
    part = Loader(prepared, vocabulary, rows=rows)
    for step, batch in itertools.islice(part.prefetch(3), 3):
        for name, array in loader.global_batch(step).items():
            assert np.array_equal(batch[name], array[rows])
    assert part.global_sha256(5) == loader.global_sha256(5)


def test_prefetch_gives_the_same_batches_from_any_step(prepared, vocabulary):
    loader = Loader(dataclasses.replace(prepared, read_threads=3), vocabulary, process=1, processes=2)
    for first in (0, 11):
        for expected, (step, batch) in zip(range(first, first + 40), loader.prefetch(first), strict=False):
            assert step == expected
            assert all(np.array_equal(array, batch[name]) for name, array in loader.batch(step).items())


def test_prefetch_tells_what_is_wrong(copied, vocabulary):
    """An error in a reading thread reaches the caller as it is."""
    _flip_bits(_directory(copied, vocabulary, "asr_en") / "examples.arrayrecord")
    with pytest.raises(CslmError, match="examples.arrayrecord"):
        for _ in itertools.islice(Loader(copied, vocabulary).prefetch(0), 200):
            pass


def _flip_bits(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x55
    path.write_bytes(content)


def _shares(loader, steps, per):
    """Share of each task among the tokens or examples of so many steps, counted."""
    counted = dict.fromkeys(loader.tasks, 0)
    for step in range(steps):
        batch = loader.batch(step)
        for row, task in enumerate(batch["task"]):
            segments = batch["segment_ids"][row]
            counted[loader.tasks[task]] += int((segments > 0).sum() if per == "tokens" else segments.max())
    return {name: count / sum(counted.values()) for name, count in counted.items()}


@pytest.mark.parametrize("per", ["tokens", "examples"])
def test_weights_are_shares_of_tokens_or_examples(prepared, vocabulary, per):
    weights = {"asr_en": 0.5, "mt_en_zh": 0.2, "text_zh": 0.3}
    removed = dict.fromkeys(set(mixture_weights("cslm_cpt", ("en", "zh"))) - set(weights), 0.0)
    config = dataclasses.replace(prepared, weights=weights | removed, weights_per=per, global_batch=32)
    loader = Loader(config, vocabulary)
    assert _shares(loader, 60, per) == pytest.approx(weights, abs=0.01)
    if per == "tokens":
        assert loader.shares() == pytest.approx(weights, abs=0.001)


def test_a_weight_of_zero_removes_a_task(prepared, vocabulary):
    config = dataclasses.replace(prepared, weights={"mt_en_zh": 0.0, "mt_zh_en": 0.0})
    loader = Loader(config, vocabulary)
    assert not [name for name in loader.tasks if name.startswith("mt")]


def test_density_counts_what_is_in_the_batches(loader):
    used = np.mean([(loader.batch(step)["segment_ids"] > 0).mean() for step in range(100)])
    assert used == pytest.approx(loader.density, abs=0.01)


def test_longer_examples_are_left_out_and_counted(prepared, vocabulary, caplog):
    loader = Loader(dataclasses.replace(prepared, row_length=160), vocabulary)
    assert "longer than a row of 160 tokens" in caplog.text
    assert (loader.batch(0)["segment_ids"] > 0).any()
    with pytest.raises(CslmError, match="no example of at most 4 tokens"):
        Loader(dataclasses.replace(prepared, row_length=4), vocabulary)


@pytest.mark.parametrize("name", ["examples.arrayrecord", "lengths.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "shortened", "emptied"])
def test_a_damaged_cache_is_named(copied, vocabulary, name, damage):
    path = _directory(copied, vocabulary, "asr_en") / name
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "shortened": content[:-3], "emptied": b""}[damage])
    with pytest.raises(CslmError, match=f"{path} is truncated or corrupted.*delete the folder {path.parent} .*prepare"):
        Loader(copied, vocabulary)


def test_a_missing_file_of_a_cache_is_called_missing(copied, vocabulary):
    path = _directory(copied, vocabulary, "asr_en") / "lengths.npy"
    path.unlink()
    with pytest.raises(CslmError, match=f"{path} is missing;"):
        Loader(copied, vocabulary)


@pytest.mark.parametrize("change", [lambda lengths: lengths + 1, lambda lengths: lengths - lengths, lambda lengths: lengths[1:]])
def test_lengths_that_do_not_fit_the_manifest_are_named(copied, vocabulary, change):
    path = _directory(copied, vocabulary, "asr_en") / "lengths.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(CslmError, match=f"{path} is truncated or corrupted"):
        Loader(copied, vocabulary)


def test_a_task_whose_records_were_all_set_aside_says_so(prepared, vocabulary_directory, tmp_path):
    """In place of blaming the row length."""
    beyond = Utterance(id="u", language="en", text="a dog", speech=Speech.from_frames(np.array([1, 4450])))
    write_records(tmp_path / "records" / "world", [beyond])
    weights = dict.fromkeys(mixture_weights("cslm_cpt", ("en", "zh")), 0.0)
    folders = {"records": str(tmp_path / "records"), "cache": str(tmp_path / "cache")}
    for task, says in (("asr_en", "all 1 records were set aside, see .*rejected.jsonl"), ("asr_zh", "no record is meant for it")):
        config = dataclasses.replace(prepared, **folders, weights=weights | {task: 1.0})
        ensure_caches(config)
        with pytest.raises(CslmError, match=f"task {task} has no example: {says}"):
            Loader(config, JointVocabulary.load(vocabulary_directory))


def test_flipped_bits_are_named(copied, vocabulary):
    _flip_bits(_directory(copied, vocabulary, "asr_en") / "examples.arrayrecord")
    loader = Loader(copied, vocabulary)
    with pytest.raises(CslmError, match="examples.arrayrecord"):
        for step in range(200):
            loader.batch(step)


def test_another_vocabulary_is_refused(prepared, vocabulary):
    other = JointVocabulary(vocabulary.text, vocabulary.codes + 1)
    with pytest.raises(CslmError, match=f"asr_en has no cache .*vocabulary {vocabulary.sha256[:12]}"):
        Loader(prepared, other)


def test_another_response_form_concerns_spoken_answers_only(prepared, vocabulary):
    Loader(dataclasses.replace(prepared, response_form="full", chunk_size=4), vocabulary)
    with pytest.raises(CslmError, match="response_form interleaved and not full"):
        Loader(dataclasses.replace(prepared, response_form="full", mixture="cslm_sft"), vocabulary)


def test_caches_without_their_records(copied, prepared, vocabulary, tmp_path):
    """A pod may hold the caches alone."""
    loader = Loader(dataclasses.replace(copied, records=str(tmp_path / "nowhere")), vocabulary)
    assert loader.global_sha256(3) == Loader(prepared, vocabulary).global_sha256(3)


def test_a_batch_that_cannot_be_shared(prepared, vocabulary):
    with pytest.raises(CslmError, match="3 processes cannot share"):
        Loader(prepared, vocabulary, process=0, processes=3)


def test_synthetic_data_needs_nothing_prepared(prepared, vocabulary):
    config = dataclasses.replace(prepared, synthetic=True, cache="nowhere", records="nowhere")
    loader = Loader(dataclasses.replace(config, row_length=512, global_batch=64), vocabulary)
    batch = loader.batch(5)
    assert batch["tokens"].max() < vocabulary.base_size
    assert not np.array_equal(batch["tokens"], loader.batch(6)["tokens"])
    assert (batch["segment_ids"] > 0).mean() == pytest.approx(loader.density, abs=0.005) == 0.98
    assert len(np.unique(np.diff(np.flatnonzero(batch["positions"] == 0)))) > 50, "segments vary in length"


@pytest.mark.parametrize("row_length", [1, 2, 16])
def test_synthetic_rows_may_be_short(prepared, vocabulary, row_length):
    batch = Loader(dataclasses.replace(prepared, synthetic=True, row_length=row_length), vocabulary).batch(0)
    assert (batch["segment_ids"] > 0).all() and (batch["positions"] <= np.arange(row_length)).all()


def test_the_loader_imports_no_tensorflow():
    program = (
        "import sys, cslm_jax.data.loader, cslm_jax.data.ensure, cslm_jax.data.prepare\n"
        "print([name for name in ('tensorflow', 'seqio') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
