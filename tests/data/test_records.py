"""Records: what is written comes back, and a bad one is refused with the name of its field."""

import dataclasses
import math

import msgpack
import numpy as np
import pytest
from made_up_world import make_records, speech, spoken

from cslm_jax.data import files, shards
from cslm_jax.data.records import (
    Dialogue,
    SpokenDialogue,
    SpokenText,
    Translation,
    Utterance,
    from_bytes,
    id_of,
    read_records,
    to_bytes,
    write_records,
)  # fmt: skip
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech.align import Word
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
        *[("id", lambda id=id: Utterance(id=id, language="en", text="a", speech=GOOD))
          for id in ("a\nb", "a\n", "a\rb", "a\u2028b", "a\x85b")],
        ("split", lambda: Utterance(id="a", language="en", text="a", speech=GOOD, split="test")),
        ("text", lambda: Utterance(id="a", language="en", text="  ", speech=GOOD)),
        ("text", lambda: Utterance(id="a", language="en", text="half of \ud83d", speech=GOOD)),
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
        *[("words", lambda times=times: SpokenText("a b", GOOD, (Word(0, 1, *times[:2]), Word(2, 3, *times[2:]))))
          for times in ((0.0, 0.2, 0.1, 0.3), (0.2, 0.1, 0.3, 0.4), (0.0, 0.1, 0.2, math.inf), (0.0, math.nan, 0.2, 0.3))],
        ("words", lambda: SpokenText("a b", GOOD, (Word(2, 3, 0.0, 0.1), Word(0, 1, 0.2, 0.3)))),
        *[("speech.unit_rate", lambda rate=rate: SpokenText("a", Speech(GOOD.units, GOOD.run_lengths, rate)))
          for rate in (0, -25.0, math.nan, None)],
    ],
)  # fmt: skip
def test_a_bad_field_is_named(field, make):
    with pytest.raises(BadRecord, match=f"field `{field}"):
        make()


def test_missing_and_unknown_fields_on_disk_are_named():
    content = msgpack.unpackb(to_bytes(make_records(1)[0]))
    with pytest.raises(BadRecord, match="field `text` is missing"):
        from_bytes("utterance", msgpack.packb({name: value for name, value in content.items() if name != "text"}))
    with pytest.raises(BadRecord, match="no field colour"):
        from_bytes("utterance", msgpack.packb({**content, "colour": "red"}))


def on_disk(kind: str, change) -> bytes:
    """The bytes of a good record, changed."""
    record = next(record for record in make_records(1) if record.kind == kind)
    content = msgpack.unpackb(to_bytes(record))
    change(content)
    return msgpack.packb(content)


@pytest.mark.parametrize(
    ("kind", "field", "change"),
    [
        ("utterance", "speech.units` is missing", lambda c: c["speech"].pop("units")),
        ("utterance", "speech.unit_rate` is missing", lambda c: c["speech"].pop("unit_rate")),
        ("utterance", "speech`", lambda c: c.update(speech=None)),
        ("utterance", "speech.units` has 5 bytes", lambda c: c["speech"].update(units=b"12345")),
        ("utterance", "speech.run_lengths`", lambda c: c["speech"].update(run_lengths=None)),
        ("utterance", "use`", lambda c: c.update(use=None)),
        ("utterance", "use`", lambda c: c.update(use="asr")),
        ("utterance", "use`", lambda c: c.update(use=[1])),
        ("utterance", "id`", lambda c: c.update(id=None)),
        ("utterance", "speaker`", lambda c: c.update(speaker=3)),
        ("translation", "texts`", lambda c: c.update(texts=None)),
        ("dialogue", "turns`", lambda c: c.update(turns=None)),
        ("dialogue", r"turns\[1\]`", lambda c: c["turns"].__setitem__(1, ["assistant"])),
        ("dialogue", r"turns\[0\]`", lambda c: c["turns"].__setitem__(0, "user")),
        ("spoken_dialogue", "question`", lambda c: c.update(question=None)),
        ("spoken_dialogue", r"question\[en\].text` is missing", lambda c: c["question"]["en"].pop("text")),
        ("spoken_dialogue", r"answer\[zh\].speech.units`", lambda c: c["answer"]["zh"]["speech"].pop("units")),
        ("spoken_dialogue", r"answer\[zh\].words`", lambda c: c["answer"]["zh"].update(words=[[0, 1]])),
        ("spoken_dialogue", r"answer\[zh\].words`", lambda c: c["answer"]["zh"].update(words=None)),
    ],
)
def test_a_malformed_field_on_disk_is_named(kind, field, change):
    with pytest.raises(BadRecord, match=f"field `{field}"):
        from_bytes(kind, on_disk(kind, change))


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x82\xa2id", msgpack.packb([1, 2]), msgpack.packb(3) + b"rest"])
def test_bytes_that_are_no_record(content):
    with pytest.raises(BadRecord, match="record"):
        from_bytes("utterance", content)
    assert id_of(content) == "without id"


def test_a_shard_that_is_made_again_replaces_all_of_the_one_before(tmp_path, monkeypatch):
    """Interrupted in between, it does not exist, in place of an index that does not fit its files."""
    write_records(tmp_path / "corpus", make_records(5))
    monkeypatch.setattr(files, "sha256_of", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_records(tmp_path / "corpus", make_records(2))
    assert list(read_records(tmp_path, "utterance")) == []
    monkeypatch.undo()
    write_records(tmp_path / "corpus", [record for record in make_records(2) if record.kind == "dialogue"])
    assert len(list(read_records(tmp_path, "dialogue"))) == 4
    assert not list(tmp_path.rglob("*.utterance.*"))


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
    says = "is missing" if damage == "missing" else "is truncated or corrupted"
    with pytest.raises(CslmError, match=f"00000.utterance.arrayrecord {says}.*delete the files .*/00000.\\*.*prepare"):
        list(read_records(tmp_path, "utterance"))


def test_a_damaged_index_of_a_shard_is_named(tmp_path):
    write_records(tmp_path / "corpus", make_records(2))
    for content in ("{", "{}", "[]"):
        (tmp_path / "corpus" / "00000.json").write_text(content)
        with pytest.raises(CslmError, match="00000.json is truncated or corrupted.*00000"):
            list(read_records(tmp_path, "utterance"))


def test_an_interrupted_shard_does_not_exist(tmp_path):
    """The .json is written last: without it nothing of the shard is read."""
    write_records(tmp_path / "corpus", make_records(2))
    (tmp_path / "corpus" / "00000.json").unlink()
    assert list(read_records(tmp_path, "utterance")) == []
