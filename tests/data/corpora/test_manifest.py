"""The manifest in all the shapes that people write it."""

import json
from pathlib import Path

import pytest

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Recording, Rejected, Segment
from cslm_jax.errors import CslmError


def read(folder: Path, content: bytes, name: str = "manifest.tsv", **fields) -> list:
    (folder / name).write_bytes(content)
    return list(corpora.read(CorpusConfig("c", "manifest", **{"path": str(folder), **fields})))


def kept(items: list) -> list[str]:
    return [item.id for item in items if isinstance(item, Recording)]


def reasons(items: list) -> dict[str, str]:
    return {item.id: item.reason for item in items if isinstance(item, Rejected)}


def test_all_columns(tmp_path):
    content = "text\tfile\tlanguage\tspeaker\tid\tsplit\n你好\ta.wav\tzh\tanna\tone\tvalidation\n".encode()
    assert read(tmp_path, content) == [Recording("one", "zh", "你好", tmp_path / "a.wav", "anna", "validation")]


def test_what_is_left_out_comes_from_the_config(tmp_path):
    (item,) = read(tmp_path, b"file\ttext\na.wav\thello\n", language="fr")
    assert item == Recording("a.wav", "fr", "hello", tmp_path / "a.wav")


def test_bom_crlf_and_empty_lines(tmp_path):
    items = read(tmp_path, b"\xef\xbb\xbffile\ttext\r\na.wav\thello\r\n\r\nb.wav\tthere\r\n")
    assert [(item.id, item.text) for item in items] == [("a.wav", "hello"), ("b.wav", "there")]


def test_broken_lines_are_rejected_with_their_number(tmp_path):
    items = read(tmp_path, b"file\ttext\nonly\na.wav\thello\nb.wav\t\xff\xfe\na.wav\tagain\n\ttext\n")
    rejected = reasons(items)
    assert kept(items) == ["a.wav"] and set(rejected) == {"line 2", "line 4", "a.wav", "line 6"}
    assert "1 columns in place of 2" in rejected["line 2"] and "byte 7 (0xff) is not utf-8" in rejected["line 4"]
    assert "a second record with the id a.wav" in rejected["a.wav"]
    assert {item.file for item in items if item.id.startswith("line")} == {str(tmp_path / "manifest.tsv")}


def test_a_line_without_a_file_is_rejected_for_that_reason(tmp_path):
    """Whether it has an id or not."""
    first, second = read(tmp_path, b"id\tfile\ttext\none\t\thello\n\t\thello\n")
    assert first.reason == second.reason == "field `file` is empty"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "file and text"), (b"path\ttext\n", "file and text"), (b"file\ttext\tcolour\n", "unknown column colour")],
)
def test_a_table_without_its_columns(tmp_path, content, says):
    with pytest.raises(CslmError, match=says):
        read(tmp_path, content)


def test_segments_of_one_file_are_records_of_their_own(tmp_path):
    items = read(tmp_path, b"file\ttext\tstart\tend\na.opus\tone\t0\t1.5\na.opus\ttwo\t3600.125\t3602\na.opus\tall\t\t\n")
    assert [item.audio for item in items] == [
        Segment(tmp_path / "a.opus", 0, 1.5), Segment(tmp_path / "a.opus", 3600.125, 3602), tmp_path / "a.opus"
    ]  # fmt: skip
    assert kept(items) == ["a.opus:0.0-1.5", "a.opus:3600.125-3602.0", "a.opus"]
    assert all(item.file == str(tmp_path / "a.opus") for item in items)


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("2", "1", "`end` is 1.0, not behind field `start`, 2.0"),
        ("1", "1", "`end` is 1.0, not behind"),
        ("x", "1", "`start` is 'x'; it must be seconds"),
        ("0", "1:30", "`end` is '1:30'"),
        ("-1", "1", "`start` is '-1'"),
        ("0", "inf", "`end` is 'inf'"),
        ("nan", "1", "`start` is 'nan'"),
        ("1", "", "`end` is None"),
    ],
)
def test_times_that_cannot_be_name_their_field_and_the_rest_goes_on(tmp_path, start, end, says):
    items = read(tmp_path, f"file\ttext\tstart\tend\na\tone\t{start}\t{end}\nb\ttwo\t0\t1\n".encode())
    assert kept(items) == ["b:0.0-1.0"] and says in reasons(items)["line 2"]


def test_json_lines_give_what_a_table_gives(tmp_path):
    rows = [
        {"file": "a.wav", "text": 'say \u2028 "hi"', "speaker": "anna"},
        {"file": "b.wav", "text": "two", "start": 1, "end": 2.5},
    ]
    content = "\r\n".join(["", *(json.dumps(row, ensure_ascii=False) for row in rows), ""]).encode()
    items = read(tmp_path, b"\xef\xbb\xbf" + content, "manifest.jsonl", language="fr")
    assert items == [
        Recording("a.wav", "fr", 'say \u2028 "hi"', tmp_path / "a.wav", "anna"),
        Recording("b.wav:1.0-2.5", "fr", "two", Segment(tmp_path / "b.wav", 1, 2.5)),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"file": "a", "text": "one"', "no JSON"),
        (b'["a", "one"]', "list in place of an object"),
        (b'{"file": "a", "text": "one", "speeker": "x"}', "unknown field `speeker`. Did you mean 'speaker'"),
        (b'{"file": "a", "text": 7}', "`text` is 7; it must be text"),
        (b'{"file": "a"}', "`text` is missing"),
        (b'{"text": "one"}', "`file` is empty"),
        (b'{"file": "a", "text": "\xb0\xae"}', "byte 24 (0xb0) is not utf-8"),
        (b'{"file": "a", "text": "one", "start": null, "end": 2}', "`start` is None"),
    ],
)  # fmt: skip
def test_broken_json_lines_are_rejected_and_the_rest_goes_on(tmp_path, line, says):
    items = read(tmp_path, b'{"file": "x", "text": "one"}\n' + line + b'\n{"file": "y", "text": "two"}\n', "manifest.jsonl")
    assert kept(items) == ["x", "y"] and says in reasons(items)["line 2"]


def test_a_table_of_any_name_and_files_anywhere(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "a.wav"
    (item,) = read(tmp_path, f"file\ttext\n{elsewhere}\thi\n".encode(), "transcripts.tsv", path=str(tmp_path / "transcripts.tsv"))
    assert item.audio == elsewhere


def test_another_encoding_is_an_option(tmp_path):
    content = "file\ttext\na.wav\t一只红狗跑了\n".encode("gb18030")
    (item,) = read(tmp_path, content, options={"encoding": "gb18030"})
    assert item.text == "一只红狗跑了"
    assert "byte 11 (0xba) is not utf-8" in reasons(read(tmp_path, content))["line 2"]
    with pytest.raises(CslmError, match="unknown encoding: gb1830"):
        read(tmp_path, content, options={"encoding": "gb1830"})
