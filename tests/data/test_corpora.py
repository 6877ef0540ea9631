"""Corpus readers: the manifest in all the shapes that people write it, and finding a reader by name."""

from pathlib import Path

import pytest

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Recording, Rejected
from cslm_jax.errors import CslmError


def read(tmp_path: Path, content: bytes, **fields) -> list:
    (tmp_path / "manifest.tsv").write_bytes(content)
    return list(corpora.read(CorpusConfig("c", "manifest", str(tmp_path), **fields)))


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
    assert [item.id for item in items if isinstance(item, Recording)] == ["a.wav"]
    rejected = {item.id: item.reason for item in items if isinstance(item, Rejected)}
    assert set(rejected) == {"line 2", "line 4", "line 5", "line 6"}
    assert "1 columns in place of 2" in rejected["line 2"] and "UTF-8" in rejected["line 4"]


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


def test_limit(tmp_path):
    assert len(read(tmp_path, b"file\ttext\na\t1\nb\t2\nc\t3\n", limit=2)) == 2


def two_items(corpus):
    """A reader of one's own."""
    yield from (Recording(str(i), corpus.language, "hi", Path("x.wav")) for i in range(2))


def test_a_reader_of_ones_own_needs_no_registration():
    assert len(list(corpora.read(CorpusConfig("c", f"{__name__}:two_items")))) == 2
    with pytest.raises(CslmError, match="cannot be imported"):
        corpora.find_reader("no_such_module:read")


@pytest.mark.parametrize("fields", [{"name": "a/b"}, {"name": ""}, {"share": "some"}, {"use": ("asrs",)}])
def test_a_wrong_field_is_named(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        CorpusConfig(**{"name": "c", "reader": "manifest", **fields})


def test_real_recordings_are_prepared(shared_data):
    """Every natural recording beside the checkout loads: 8, 16 and 22.05 kHz, English and Chinese."""
    sounds = (".wav", ".flac", ".mp3", ".opus", ".ogg")
    found = [path for path in sorted(shared_data.rglob("*")) if path.suffix in sounds]
    assert found
    for path in found:
        assert 0.1 < len(Recording("r", "en", "text", path).load()) / 16000 <= 30


def one_option(corpus, *, subset="all"):
    yield Recording(subset, corpus.language, "hi", Path("x.wav"))


def test_options_are_keyword_arguments_of_the_reader():
    config = CorpusConfig("c", f"{__name__}:one_option", options={"subset": "clean"})
    assert [item.id for item in corpora.read(config)] == ["clean"]
    with pytest.raises(CslmError, match="no option 'subsett'. Did you mean 'subset'"):
        list(corpora.read(CorpusConfig("c", f"{__name__}:one_option", options={"subsett": "clean"})))
