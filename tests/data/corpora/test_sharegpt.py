"""Shared chats: the three forms, the four kinds of files, their languages, and what breaks in them."""

import json
import re

import pyarrow
import pytest
from pyarrow import parquet

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Rejected
from cslm_jax.errors import CslmError

ASK = {"from": "human", "value": "What is a bear?"}
TELL = {"from": "gpt", "value": "An animal."}
TURNS = (("user", "What is a bear?"), ("assistant", "An animal."))


def read(path, **fields) -> list:
    return list(corpora.read(CorpusConfig("c", "sharegpt", str(path), **fields)))


def lines(path, *rows) -> list:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return read(path)


def test_infinity_instruct_as_it_is_published(tmp_path):
    """Parquet, in several files, with columns that nobody asks for."""
    rows = [
        {
            "id": i,
            "conversations": [ASK, TELL, {"from": "human", "value": f"And {i}?"}, {"from": "gpt", "value": "So."}],
            "label": {"ability_en": ["biology"], "ability_zh": ["生物"]},
            "langdetect": "zh-cn" if i % 2 else "en",
            "source": "flan",
        }
        for i in range(5)
    ]
    (tmp_path / "0625").mkdir()
    for part in range(2):
        parquet.write_table(
            pyarrow.Table.from_pylist(rows), tmp_path / "0625" / f"train-0000{part}-of-00002.parquet", row_group_size=2
        )
    items = read(tmp_path)
    assert [item.language for item in items] == ["en", "zh", "en", "zh", "en"] * 2
    assert items[3].turns == (*TURNS, ("user", "And 3?"), ("assistant", "So."))
    assert len({item.id for item in items}) == 10 and items[3].id == "0625/train-00000-of-00002.parquet:4"


USER, ASSISTANT = {"role": "user", "content": "What is a bear?"}, {"role": "assistant", "content": "An animal."}


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [ASK, TELL]},
        {"messages": [USER, ASSISTANT]},
        {"messages": [USER | {"content": [{"type": "text", "text": "What is a bear?"}]}, ASSISTANT]},
        {"prompt": "What is a bear?", "response": "An animal."},
        {"prompt": ["What is a bear?"], "response": ["An animal."]},
    ],
)
def test_forms(tmp_path, row):
    (item,) = lines(tmp_path / "a.jsonl", row)
    assert item.turns == TURNS and item.split == "train"


def test_an_array_and_lines_under_either_name(tmp_path):
    """ShareGPT's own file is a JSON array; many others are lines that are called .json."""
    row = {"conversations": [ASK, TELL]}
    (tmp_path / "array.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([row, row], indent=1).encode())
    (tmp_path / "lines.json").write_bytes(b"\xef\xbb\xbf" + (json.dumps(row) + "\r\n\r\n").encode() * 2)
    assert [item.turns for item in read(tmp_path)] == [TURNS] * 4
    assert [item.id for item in read(tmp_path)] == ["array.json:1", "array.json:2", "lines.json:1", "lines.json:3"]


def test_turns_without_their_other_side_are_left_out(tmp_path):
    """Shared chats begin in the middle and end with questions; a system message is kept, and an empty one is none."""
    system = {"from": "system", "value": "Be brief."}
    cut, kept, empty = lines(
        tmp_path / "a.jsonl",
        {"conversations": [TELL, ASK, TELL, ASK]},
        {"conversations": [system, TELL, ASK, TELL]},
        {"conversations": [system | {"value": ""}, ASK, TELL]},
    )
    assert cut.turns == empty.turns == TURNS and kept.turns == (("system", "Be brief."), *TURNS)


def test_the_language_is_told_or_seen(tmp_path):
    def chat(text, **fields):
        return {"conversations": [{"from": "human", "value": text}, TELL], **fields}

    items = lines(
        tmp_path / "a.jsonl",
        chat("hello", langdetect="zh-cn"),
        chat("hello", language="English"),
        chat("请解释 numpy 的 broadcasting 规则，并举一个例子。"),
        chat("What does the word 你好 mean, and how do I say it aloud?"),
        chat("これは何ですか、漢字"),
        chat("이것은 무엇입니까"),
        chat("quoi ?"),
    )
    assert [item.language for item in items] == ["zh", "en", "zh", "en", "ja", "ko", "en"]
    assert read(tmp_path, language="fr")[-1].language == "fr"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{broken", "line 2: not JSON"),
        ("[1, 2]", "line 2: no object"),
        ("null", "line 2: no object, but None"),
        ("[" * 100_000, "line 2: not JSON"),
        ('{"text": "x"}', "no field conversations"),
        ('{"conversations": "x"}', "field `conversations` is 'x'"),
        ('{"conversations": ["x"]}', r"field `conversations\[0\]`"),
        ('{"conversations": [{"from": "tool", "value": "x"}]}', "said by 'tool'"),
        ('{"conversations": [{"from": ["gpt"], "value": "x"}]}', "said by"),
        ('{"conversations": [{"from": "gpt", "value": null}]}', r"field `conversations\[0\]` has no text"),
        ('{"conversations": [{"from": "human", "value": "x"}]}', "no question of the user with an answer"),
        ('{"conversations": [{"from": "human", "value": " "}, {"from": "gpt", "value": "x"}]}', r"turns\[0\]` is empty"),
        ('{"conversations": [{"from": "human", "value": "\\ud83d"}, {"from": "gpt", "value": "x"}]}', "half a surrogate"),
        ('{"prompt": ["a", "b"], "response": ["c"]}', "`prompt` has 2 turns and `response` 1"),
        ("\xff", "line 2"),
    ],
)
def test_a_broken_chat_is_rejected_with_its_line(tmp_path, line, says):
    good = json.dumps({"conversations": [ASK, TELL]}).encode()
    (tmp_path / "a.jsonl").write_bytes(good + b"\n" + line.encode("latin-1") + b"\n" + good)
    first, bad, last = read(tmp_path)
    assert first.turns == last.turns == TURNS and isinstance(bad, Rejected)
    assert bad.file.endswith("a.jsonl") and bad.id == "a.jsonl:2"
    assert re.search(says, bad.reason)


@pytest.mark.parametrize("name", ["a.json", "a.parquet"])
def test_a_file_that_is_cut_off_is_named(tmp_path, name):
    """Half a download must not pass for a small corpus."""
    path = tmp_path / name
    if name == "a.json":
        path.write_text(json.dumps([{"conversations": [ASK, TELL]}] * 3)[:-20])
    else:
        parquet.write_table(pyarrow.Table.from_pylist([{"conversations": [ASK, TELL]}] * 3), path)
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CslmError, match=f"{name} is truncated or corrupted"):
        read(path)


def test_no_files(tmp_path):
    with pytest.raises(CslmError, match="holds no file .json or .jsonl or .parquet"):
        read(tmp_path)
    with pytest.raises(CslmError, match="is not there"):
        read(tmp_path / "missing")
