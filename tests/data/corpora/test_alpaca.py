"""Alpaca: one language, two in one entry, two files side by side."""

import json

import pytest

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Rejected, WrittenDialogue
from cslm_jax.errors import CslmError

EN = {"instruction": "Name a fruit.", "input": "", "output": "An apple."}
ZH = {"instruction": "说出一种水果。", "input": "", "output": "苹果。"}
FILES = {"en": "alpaca_data.json", "zh": "alpaca_data_zh.json"}


def read(path, **options) -> list:
    return list(corpora.read(CorpusConfig("c", "alpaca", str(path), options=options)))


def write(folder, en, zh=None):
    (folder / FILES["en"]).write_text(json.dumps(en))
    if zh is not None:
        (folder / FILES["zh"]).write_text(json.dumps(zh, ensure_ascii=False))
    return folder


def test_one_language_is_written_or_text(tmp_path):
    write(tmp_path, [EN])
    (written,), (text,) = read(tmp_path), read(tmp_path, form="text")
    assert written == WrittenDialogue(written.id, {"en": "Name a fruit."}, {"en": "An apple."})
    assert text.turns == (("user", "Name a fruit."), ("assistant", "An apple.")) and text.language == "en"


def test_two_files_become_pairs(tmp_path):
    write(tmp_path, [EN, EN | {"output": "A pear."}], [ZH, ZH | {"output": "梨。"}])
    pairs = read(tmp_path, files=FILES)
    assert [pair.answer for pair in pairs] == [{"en": "An apple.", "zh": "苹果。"}, {"en": "A pear.", "zh": "梨。"}]
    assert {item.language for item in read(tmp_path, files=FILES, form="text")} == {"en", "zh"}


def test_both_languages_in_one_entry(tmp_path):
    write(tmp_path, [EN | {f"{field}_zh": text for field, text in ZH.items()}])
    (pair,) = read(tmp_path)
    assert pair.question == {"en": "Name a fruit.", "zh": "说出一种水果。"}
    assert pair.answer == {"en": "An apple.", "zh": "苹果。"}


def test_the_input_stands_below_the_instruction_unless_it_says_there_is_none(tmp_path):
    write(tmp_path, [EN | {"input": "It is red."}, EN | {"input": "<noinput>"}])
    assert [item.question["en"] for item in read(tmp_path)] == ["Name a fruit.\nIt is red.", "Name a fruit."]


def test_files_of_different_lengths_are_no_translations(tmp_path):
    """GPT-4's English and Chinese answers, say, have different entries."""
    write(tmp_path, [EN, EN], [ZH])
    with pytest.raises(CslmError, match=r"alpaca_data.json has 2 entries and .*alpaca_data_zh.json has 1 entries"):
        read(tmp_path, files=FILES)


def test_a_broken_entry_is_rejected_on_both_sides(tmp_path):
    write(tmp_path, [EN, "broken", EN, EN], [ZH, ZH, ZH | {"output": ""}, ZH])
    first, broken, empty, last = read(tmp_path, files=FILES)
    assert first.answer == last.answer and isinstance(broken, Rejected) and isinstance(empty, Rejected)
    assert "entry 2" in broken.reason and "entry 3: field `output` (zh) is ''" in empty.reason


def test_a_wrong_form_is_named(tmp_path):
    with pytest.raises(CslmError, match="options.form is 'spoken'"):
        read(write(tmp_path, [EN]), form="spoken")
