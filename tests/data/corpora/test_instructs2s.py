"""LLaMA-Omni's and CSLM's spoken questions and answers: training data and the two sets for evaluation."""

import json

import pytest

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Recording, Rejected, SpokenDialogueItem, WrittenDialogue
from cslm_jax.errors import CslmError


def read(reader, path, language="en", **options) -> list:
    return list(corpora.read(CorpusConfig("c", reader, str(path), language, options=options)))


def chat(**answer) -> dict:
    def turns(i):
        asked = {"from": "human", "text": f"Why {i}?", "speech": f"wav/instruct_en_0-{i}-user.wav"}
        return [asked, {"from": "gpt", "text": f"So {i}.", "unit": [1, 6560], **answer}]

    return {"id": "instruct_en_0", "conversation": [*turns(1), *turns(2)]}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=4))
    return path.parent


def test_spoken_on_both_sides(tmp_path):
    folder = write(tmp_path / "instruct_en_200k_data_cosy2.json", [chat(speech="wav/answer.wav")])
    (item,) = read("instructs2s", folder)
    assert isinstance(item, SpokenDialogueItem)
    assert item.question["en"].audio == folder / "wav/instruct_en_0-1-user.wav" and item.question["en"].text == "Why 1?"
    assert item.answer["en"].audio == folder / "wav/answer.wav" and item.answer["en"].text == "So 1."
    assert [item.question["en"].text for item in read("instructs2s", folder, exchanges="all")] == ["Why 1?", "Why 2?"]
    assert read("instructs2s", folder, sound="/elsewhere")[0].answer["en"].file == "/elsewhere/wav/answer.wav"


def test_answers_that_are_units_only_are_synthesised(tmp_path):
    folder = write(tmp_path / "a.json", [chat()])
    (rejected,) = read("instructs2s", folder)
    assert "field `conversation[1].speech` is missing; with options.form=written" in rejected.reason
    (written,) = read("instructs2s", folder, "zh", form="written")
    assert written == WrittenDialogue(written.id, {"zh": "Why 1?"}, {"zh": "So 1."})


def test_whole_chats_as_text(tmp_path):
    folder = write(tmp_path / "a.json", [chat()])
    (dialogue,) = read("instructs2s", folder, form="text")
    assert dialogue.turns == (("user", "Why 1?"), ("assistant", "So 1."), ("user", "Why 2?"), ("assistant", "So 2."))


@pytest.mark.parametrize("row", [{"id": "x"}, {"conversation": [1]}, {"conversation": [{"from": "gpt", "text": "x"}]}])
def test_a_broken_chat_is_rejected(tmp_path, row):
    bad, good = read("instructs2s", write(tmp_path / "a.json", [row, chat()]), form="written")
    assert isinstance(bad, Rejected) and "entry 1: field `conversation`" in bad.reason and good.question


def test_a_wrong_form_is_named(tmp_path):
    with pytest.raises(CslmError, match="form is spoken or written or text"):
        read("instructs2s", tmp_path, form="spocken")


def test_instructs2s_eval_as_llama_omni_2_publishes_it(tmp_path):
    turn = {"from": "human", "text": "How did US states get their names?", "speech": "examples/wav/helpful_base_1.wav"}
    folder = write(tmp_path / "examples" / "questions.json", [{"id": "helpful_base_1", "conversation": [turn]}])
    sound = tmp_path / "examples" / "wav" / "helpful_base_1.wav"
    assert read("instructs2s_eval", folder) == [Recording("helpful_base_1", "en", turn["text"], sound, split="validation")]


def test_instructs2s_eval_as_text(tmp_path):
    rows = [{"dataset": name, "instruction": f"Ask {name}.", "output": "Tell."} for name in ("helpful_base", "koala", "vicuna")]
    items = read("instructs2s_eval", write(tmp_path / "alpaca_eval.json", rows))
    assert [item.question["en"] for item in items] == ["Ask helpful_base.", "Ask vicuna."]
    assert {item.split for item in items} == {"validation"}


def test_questions_without_their_text_are_rejected(tmp_path):
    old = {"id": "vicuna_1", "speech": "a.wav", "conversations": [{"from": "human", "value": "<speech>\nAnswer."}]}
    first, second = read("instructs2s_eval", write(tmp_path / "question.json", [old, {"id": "x"}]))
    assert "LLaMA-Omni 1" in first.reason and "`conversation`" in second.reason


def test_belle_eval_s2s(tmp_path):
    (tmp_path / "test.tsv").write_bytes('id\ttext\r\n0\t中国有多少个省？\n1\n191\t判断:"月球是行星。"\n'.encode())
    first, bad, quoted = read("belle_s2s", tmp_path)
    assert first == Recording("0", "zh", "中国有多少个省？", tmp_path / "wav" / "0.wav", split="validation")
    assert "line 3" in bad.reason and quoted.text == '判断:"月球是行星。"'


def test_belle_without_its_table(tmp_path):
    with pytest.raises(CslmError, match="test.tsv"):
        read("belle_s2s", tmp_path)
    (tmp_path / "test.tsv").write_text("file\ttext\n")
    with pytest.raises(CslmError, match="must be the columns id and text"):
        read("belle_s2s", tmp_path)
