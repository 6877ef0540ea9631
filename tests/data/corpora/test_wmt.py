"""WMT's parallel texts: the published names, pairing that cannot shift, and what is held out."""

import gzip

import pytest

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Rejected
from cslm_jax.data.records import Translation
from cslm_jax.errors import CslmError


def read(path, **options) -> list:
    return list(corpora.read(CorpusConfig("c", "wmt", str(path), options=options)))


def write(folder, files: dict[str, str]):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode())
    return folder


def test_wmt17_as_it_is_published(tmp_path):
    """Two files a set, CWMT's own names, the UN corpus with its third file, and a read-me."""
    write(
        tmp_path,
        {
            "training/news-commentary-v12.zh-en.zh": "你好\n再见\n",
            "training/news-commentary-v12.zh-en.en": "hello\ngoodbye\n",
            "cwmt/casia2015/casia2015_ch.txt": "一\n",
            "cwmt/casia2015/casia2015_en.txt": "one\n",
            "cwmt/neu2017/NEU_cn.txt": "二\n",
            "cwmt/neu2017/NEU_en.txt": "two\n",
            "en-zh/UNv1.0.en-zh.en": "peace\n",
            "en-zh/UNv1.0.en-zh.zh": "和平\n",
            "en-zh/UNv1.0.en-zh.ids": "a/1999/1:1\n",
            "en-zh/README.txt": "The corpus",
        },
    )
    items = read(tmp_path)
    assert {item.texts["zh"]: item.texts["en"] for item in items} == {
        "你好": "hello", "再见": "goodbye", "一": "one", "二": "two", "和平": "peace",
    }  # fmt: skip
    assert all(item.split == "train" for item in items)
    assert [item.id for item in read(tmp_path)] == [item.id for item in items] and len({item.id for item in items}) == 5


def test_packed_bom_crlf_and_line_separators_inside_of_sentences(tmp_path):
    (tmp_path / "a.en").write_bytes(b"\xef\xbb\xbfone\xe2\x80\xa8more\r\ntwo\r\n")
    (tmp_path / "a.fr.gz").write_bytes(gzip.compress(b"un\ndeux"))
    assert [item.texts for item in read(tmp_path)] == [{"en": "one\u2028more", "fr": "un"}, {"en": "two", "fr": "deux"}]


def test_files_that_lost_a_line_are_never_paired(tmp_path):
    """What follows the lost line would be paired wrongly, so nothing is read, not even the good set before it."""
    write(tmp_path, {"a.en": "good\n", "a.zh": "好\n", "b.en": "one\ntwo\nthree\n", "b.zh": "一\n三"})
    with pytest.raises(CslmError) as error:
        read(tmp_path)
    assert all(said in str(error.value) for said in ("b.en has 3 lines", "b.zh has 2 lines"))


def test_a_broken_line_is_rejected_and_the_rest_stays_paired(tmp_path):
    (tmp_path / "a.en").write_bytes(b"one\n\n\xff\xfe\nfour\n")
    (tmp_path / "a.zh").write_bytes("一\n二\n三\n四\n".encode())
    items = read(tmp_path)
    assert [item.texts["zh"] for item in items if isinstance(item, Translation)] == ["一", "四"]
    empty, garbled = [item for item in items if isinstance(item, Rejected)]
    assert "line 2: field `texts[en]` is empty" in empty.reason and "a.zh" in empty.file
    assert "line 3: field `texts[en]` is not UTF-8" in garbled.reason


def test_tables_name_their_columns(tmp_path):
    write(tmp_path, {"news-commentary-v14.en-zh.tsv": "hello\t你好\nno tab\nbye\t再见\t0.9\n"})
    first, bad, last = read(tmp_path)
    assert first.texts == {"en": "hello", "zh": "你好"} and last.texts == {"en": "bye", "zh": "再见"}
    assert "line 2: 1 column" in bad.reason
    write(tmp_path / "mine", {"mine.tsv": "你好\thello\n"})
    assert read(tmp_path / "mine" / "mine.tsv", languages=["zh", "en"])[0].texts == first.texts
    with pytest.raises(CslmError, match=r"mine.tsv: languages="):
        read(tmp_path / "mine")


def test_sets_for_development_and_tests_are_held_out(tmp_path):
    sgm = '<refset setid="x"><doc docid="1">\n<seg id="1">{}</seg>\n<seg id="2"> A &amp; B < C </seg>\n</doc>\n</refset>\n'
    write(
        tmp_path,
        {
            "newstest2017-zhen-src.zh.sgm": sgm.format("你好"),
            "newstest2017-zhen-ref.en.sgm": sgm.format("hello"),
            "UNv1.0.devset.en": "peace\n",
            "UNv1.0.devset.zh": "和平\n",
            "testimony.en": "I saw\n",
            "testimony.zh": "我看见\n",
        },
    )
    items = read(tmp_path)
    assert [(item.texts["en"], item.split) for item in items] == [
        ("peace", "validation"), ("hello", "validation"), ("A & B < C", "validation"), ("I saw", "train"),
    ]  # fmt: skip


def test_any_two_languages_of_a_folder_with_more(tmp_path):
    write(tmp_path, {"a.en": "one\n", "a.fr": "un\n", "a.zh": "一\n"})
    with pytest.raises(CslmError, match="say which two languages of a.en, a.fr, a.zh"):
        read(tmp_path)
    assert read(tmp_path, languages=["fr", "zh"])[0].texts == {"fr": "un", "zh": "一"}


@pytest.mark.parametrize("files", [{}, {"a.en": "alone\n"}])
def test_nothing_to_pair(tmp_path, files):
    with pytest.raises(CslmError, match="corpora.c.path"):
        read(write(tmp_path, files))


def test_a_packed_file_that_is_cut_off(tmp_path):
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"one\n" * 1000)[:-12])
    (tmp_path / "a.zh").write_text("一\n")
    with pytest.raises(CslmError, match="a.en.gz cannot be read to its end"):
        read(tmp_path)
