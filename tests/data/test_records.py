"""Records: what is written comes back, and a bad one is refused with the name of its field."""

import dataclasses

import msgpack
import numpy as np
import pytest
from made_up_world import make_records, speech, spoken

from cslm_jax.data import shards
from cslm_jax.data.records import (
    Dialogue,
    SpokenDialogue,
    SpokenText,
    Translation,
    Utterance,
    from_bytes,
    read_records,
    to_bytes,
    write_records,
)  # fmt: skip
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech.units import Speech


@pytest.mark.parametrize("record", make_records(1), ids=lambda record: record.id)
def test_bytes_there_and_back(record):
    record = dataclasses.replace(record, use=("asr", "s2s"))
    assert from_bytes(record.kind, to_bytes(record)) == record


def test_shards_there_and_back(tmp_path):
    records = make_records(12)
    for number in range(2):
        write_records(tmp_path / "corpus", records[number::2], number=number)
    for record in {type(record): record for record in records}.values():
        expected = [each for half in (records[::2], records[1::2]) for each in half if each.kind == record.kind]
        assert list(read_records(tmp_path, record.kind)) == expected
        held_out = [each for each in expected if each.split == "validation"]
        assert list(read_records(tmp_path, record.kind, "validation")) == held_out


def test_the_same_records_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_records(tmp_path / name, make_records(20))
    one, two = (sorted((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_the_fingerprint_follows_the_kinds_that_are_read(tmp_path):
    write_records(tmp_path / "a", make_records(3))
    before = {kind: shards.fingerprint(tmp_path, (kind,)) for kind in ("utterance", "dialogue")}
    write_records(tmp_path / "b", [record for record in make_records(3) if record.kind == "dialogue"])
    after = {kind: shards.fingerprint(tmp_path, (kind,)) for kind in ("utterance", "dialogue")}
    assert before["utterance"] == after["utterance"] and before["dialogue"] != after["dialogue"]


GOOD = speech(0, 20)


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("id", lambda: Utterance(id="", language="en", text="a", speech=GOOD)),
        ("id", lambda: Utterance(id="a\nb", language="en", text="a", speech=GOOD)),
        ("split", lambda: Utterance(id="a", language="en", text="a", speech=GOOD, split="test")),
        ("text", lambda: Utterance(id="a", language="en", text="  ", speech=GOOD)),
        ("language", lambda: Utterance(id="a", language="", text="a", speech=GOOD)),
        ("speech", lambda: Utterance(id="a", language="en", text="a", speech=None)),
        ("speech", lambda: Utterance(id="a", language="en", text="a", speech=Speech.from_frames(np.zeros(0, int)))),
        (
            "speech",
            lambda: Utterance(id="a", language="en", text="a", speech=Speech(np.arange(3), np.array([1, 0, 2]))),
        ),
        ("texts", lambda: Translation(id="a", texts={"en": "one"})),
        ("texts.zh.", lambda: Translation(id="a", texts={"en": "one", "zh": ""})),
        ("turns", lambda: Dialogue(id="a", language="en", turns=(("user", "hello"),))),
        ("turns.0.", lambda: Dialogue(id="a", language="en", turns=(("bot", "hello"), ("assistant", "hello")))),
        ("answer", lambda: SpokenDialogue(id="a", question={"en": spoken("en", 0)}, answer={})),
        (
            "answer.en..words",
            lambda: SpokenDialogue(id="a", question={"en": spoken("en", 0)}, answer={"en": spoken("en", 0)}),
        ),
        ("words", lambda: SpokenText("short", GOOD, spoken("en", 0, aligned=True).words)),
    ],
)
def test_a_bad_field_is_named(field, make):
    with pytest.raises(BadRecord, match=f"field `{field}"):
        make()


def test_missing_and_unknown_fields_on_disk_are_named():
    content = msgpack.unpackb(to_bytes(make_records(1)[0]))
    with pytest.raises(BadRecord, match="field `text` is missing"):
        from_bytes("utterance", msgpack.packb({name: value for name, value in content.items() if name != "text"}))
    with pytest.raises(BadRecord, match="no field colour"):
        from_bytes("utterance", msgpack.packb({**content, "colour": "red"}))


@pytest.mark.parametrize("damage", ["truncated", "corrupted", "missing"])
def test_a_damaged_shard_is_named(tmp_path, damage):
    write_records(tmp_path / "corpus", make_records(200))
    path = tmp_path / "corpus" / "00000.utterance.arrayrecord"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        path.unlink()
    else:
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
    with pytest.raises(CslmError, match="00000.utterance.arrayrecord"):
        list(read_records(tmp_path, "utterance"))


def test_an_interrupted_shard_does_not_exist(tmp_path):
    """The .json is written last: without it nothing of the shard is read."""
    write_records(tmp_path / "corpus", make_records(2))
    (tmp_path / "corpus" / "00000.json").unlink()
    assert list(read_records(tmp_path, "utterance")) == []
