"""Held-out items: validation only, for the right task and direction, the same ones whatever order they lie in."""

import dataclasses

import pytest

from cslm_jax.data.records import write_records
from cslm_jax.errors import CslmError
from cslm_jax.evaluate.held_out import HeldOut


def ids(records) -> list[str]:
    return [record.id for record in records]


@pytest.fixture
def records(world):
    return [*world.utterances("en"), *world.utterances("zh"), *world.dialogues()]


def test_only_validation_records_in_an_order_of_their_own(tmp_path, records):
    trained = [dataclasses.replace(record, id=f"train-{record.id}", split="train") for record in records]
    write_records(tmp_path / "a" / "corpus", [*records, *trained])
    write_records(tmp_path / "b" / "corpus", [*trained, *records[::-1]])
    first, second, other = (HeldOut.read(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("a", 1)))
    assert ids(first.utterances) == ids(second.utterances) and sorted(ids(first.utterances)) == sorted(ids(records[:6]))
    assert ids(first.dialogues) == ids(second.dialogues)
    assert ids(first.utterances) != ids(other.utterances)
    assert ids(first.spoken("asr", "zh", 2)) == [i for i in ids(first.utterances) if i.startswith("zh")][:2]
    assert first.spoken("asr", "zh", 0) == [] and first.spoken("asr", "fr", 9) == []


def test_corpora_are_measured_on_what_they_are_meant_for(world):
    listening = [dataclasses.replace(record, use=("asr",)) for record in world.utterances("en")]
    mono = [dataclasses.replace(record, use=("s2s_mono",)) for record in world.dialogues()]
    held_out = HeldOut(listening, mono)
    assert len(held_out.spoken("asr", "en", 9)) == 3 and not held_out.spoken("tts", "en", 9)
    assert len(held_out.asked("en", "en", 9)) == 3 and not held_out.asked("en", "zh", 9)


def test_a_question_needs_its_language_and_an_answer_in_the_other(world):
    english = [dataclasses.replace(d, question={"en": d.question["en"]}) for d in world.dialogues()]
    held_out = HeldOut([], english)
    assert held_out.asked("en", "zh", 9) and not held_out.asked("zh", "en", 9)


def test_nothing_held_out_is_said_so(tmp_path, records):
    write_records(tmp_path / "corpus", [dataclasses.replace(record, split="train") for record in records])
    with pytest.raises(CslmError, match="no spoken validation records"):
        HeldOut.read(tmp_path)
