"""Which record belongs to which task, and what chat it becomes; golden strings in the paper's layout."""

import dataclasses

import numpy as np
import pytest
from made_up_world import CODES, spoken

from cslm_jax.data.catalogue import tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.data.examples import _TOGETHER, examples, pieces, read_examples, takes
from cslm_jax.data.records import Dialogue, SpokenDialogue, Translation, Utterance, write_records
from cslm_jax.errors import BadRecord
from cslm_jax.speech.units import Speech

TASKS = tasks(("en", "zh"))
UTTERANCE = Utterance(id="u", language="en", text="a red dog", speech=Speech.from_frames(np.array([4, 4, 9])))


def only(record, task, vocabulary, config=DataConfig()):
    (example,) = examples(record, TASKS[task], config, vocabulary)
    trained = vocabulary.decode(example.tokens[example.loss_weights > 0])
    return vocabulary.decode(example.tokens), trained


def test_asr(vocabulary):
    whole, trained = only(UTTERANCE, "asr_en", vocabulary)
    assert "This is input: <sosp><4><9><eosp>.<|eot_id|>" in whole
    assert trained == "a red dog<|eot_id|>"


def test_tts(vocabulary):
    whole, trained = only(UTTERANCE, "tts_en", vocabulary)
    assert "This is input: a red dog.<|eot_id|>" in whole
    assert trained == "<sosp><4><9><eosp><|eot_id|>"


def test_mt(vocabulary):
    record = Translation(id="t", texts={"en": "a dog", "zh": "一只狗"})
    assert only(record, "mt_en_zh", vocabulary)[1] == "一只狗<|eot_id|>"
    whole, trained = only(record, "mt_zh_en", vocabulary)
    assert "这是输入: 一只狗。<|eot_id|>" in whole and trained == "a dog<|eot_id|>"


def test_translations_outside_the_papers_lengths_are_set_aside(vocabulary):
    """Source and target together, in tokens of the joint vocabulary; what the chat adds does not count."""
    texts = {"en": "the dog sees a red house", "zh": "狗看见红色的房子"}
    record, task = Translation(id="t", texts=texts), TASKS["mt_en_zh"]
    length = sum(len(vocabulary.encode_text(text)) for text in texts.values())
    for limits in ((length, length), (0, 0), (length, 0), (0, length)):
        assert len(list(examples(record, task, DataConfig(mt_tokens=limits), vocabulary))) == 1
    for limits in ((length + 1, 0), (0, length - 1)):
        with pytest.raises(BadRecord, match=f"length: {length} tokens"):
            list(examples(record, task, DataConfig(mt_tokens=limits), vocabulary))


def test_text_trains_every_turn_of_the_assistant(vocabulary):
    turns = (("system", "be kind"), ("user", "hello"), ("assistant", "hi"), ("user", "why"), ("assistant", "so"))
    whole, trained = only(Dialogue(id="d", language="en", turns=turns), "text_en", vocabulary)
    assert trained == "hi<|eot_id|>so<|eot_id|>" and whole.count("<|begin_of_text|>") == 1


def test_stage0_is_plain_text(vocabulary):
    found = list(
        examples(Translation(id="t", texts={"en": "a dog", "zh": "一只狗"}), TASKS["text_stage0"], DataConfig(), vocabulary)
    )
    assert [vocabulary.decode(example.tokens) for example in found] == [
        "<|begin_of_text|>a dog<|eot_id|>",
        "<|begin_of_text|>一只狗<|eot_id|>",
    ]
    assert all(example.tokens.max() < vocabulary.base_size for example in found)


SPOKEN = SpokenDialogue(
    id="s",
    question={name: spoken(name, 1) for name in ("en", "zh")},
    answer={name: spoken(name, 2, True) for name in ("en", "zh")},
)


@pytest.mark.parametrize("chunk_size", [4, 7])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_pieces_join_to_the_answer(language, chunk_size):
    answer = SPOKEN.answer[language]
    cut = pieces(answer, chunk_size)
    assert len(cut) > 1
    assert "".join(text for text, _ in cut) == answer.text
    units = np.concatenate([units for _, units in cut])
    merged = units[np.diff(units, prepend=-1) != 0]
    assert np.array_equal(merged, answer.speech.units)


@pytest.mark.parametrize("form", ["interleaved", "full", "without_tq", "fixed_ratio"])
def test_s2s_in_every_form(vocabulary, form):
    config = DataConfig(response_form=form)
    whole, trained = only(SPOKEN, "s2s_en_zh", vocabulary, config)
    question, answer = SPOKEN.question["en"].text, SPOKEN.answer["zh"].text
    assert (f"[question]: {question}; [answer]: " in trained) == (form != "without_tq")
    if form != "fixed_ratio":
        assert trained.count("<sosp>") == {"interleaved": 2, "full": 1, "without_tq": 2}[form]
    if form == "interleaved":
        (first, heard), (second, said) = pieces(SPOKEN.answer["zh"], 7)
        assert first + second == answer
        written = "".join(f"<{unit}>" for unit in heard)
        assert trained.startswith(f"[question]: {question}; [answer]: {first}<sosp>{written}<eosp>{second}<sosp>")
        assert trained.endswith(f"<{said[-1]}><eosp><|eot_id|>")


def test_the_fixed_ratio_counts_tokens_and_units(vocabulary):
    """13 tokens of text, 26 units, and so on; the last stretch of text is followed by all units that are left."""
    told = spoken("zh", 123_456_789_123_456_789, True)
    record = dataclasses.replace(SPOKEN, answer={"zh": told})
    (example,) = examples(record, TASKS["s2s_en_zh"], DataConfig(response_form="fixed_ratio"), vocabulary)
    answer = example.tokens[np.flatnonzero(example.tokens == vocabulary.answer)[0] + 1 :]
    answer = answer[len(vocabulary.encode_text(": ")) : -1]
    kinds = vocabulary.is_unit(answer).astype(int) + 2 * np.isin(answer, (vocabulary.sosp, vocabulary.eosp))
    cuts = np.flatnonzero(np.diff(kinds)) + 1
    runs = [(int(part[0]), len(part)) for part in np.split(kinds, cuts)]
    texts, units = len(vocabulary.encode_text(told.text)), len(told.speech.units)
    assert 13 < texts <= 26 and units > 26
    assert runs == [(0, 13), (2, 1), (1, 26), (2, 1), (0, texts - 13), (2, 1), (1, units - 26), (2, 1)]


@pytest.mark.parametrize("form", ["interleaved", "full", "without_tq", "fixed_ratio"])
def test_only_forms_with_chunks_need_a_unit_in_every_chunk(vocabulary, form):
    """The words are timed behind the end of the sound: the last chunk is empty, the answer as a whole is not."""
    answer = SPOKEN.answer["en"]
    late = tuple(dataclasses.replace(word, start_s=word.start_s + 60, end_s=word.end_s + 60) for word in answer.words)
    record = dataclasses.replace(SPOKEN, answer={"en": dataclasses.replace(answer, words=late)})
    config = DataConfig(response_form=form)
    if form in ("interleaved", "without_tq"):
        with pytest.raises(BadRecord, match="holds no unit"):
            only(record, "s2s_en_en", vocabulary, config)
    else:
        assert only(record, "s2s_en_en", vocabulary, config) == only(SPOKEN, "s2s_en_en", vocabulary, config)


@pytest.mark.parametrize(
    ("use", "taken"),
    [
        ((), {"asr_en", "tts_en"}),
        (("asr",), {"asr_en"}),
        (("mt",), set()),
    ],
)
def test_use_selects_tasks(use, taken):
    record = dataclasses.replace(UTTERANCE, use=use)
    families = ("asr", "tts")
    assert {name for name, spec in TASKS.items() if spec.family in families and takes(spec, record)} == taken


@pytest.mark.parametrize(
    ("use", "taken"),
    [
        ("s2s", {"s2s_en_en", "s2s_en_zh", "s2s_zh_en", "s2s_zh_zh"}),
        ("s2s_mono", {"s2s_en_en", "s2s_zh_zh"}),
        ("s2s_cross", {"s2s_en_zh", "s2s_zh_en"}),
    ],
)
def test_spoken_dialogues_for_one_or_two_languages(use, taken):
    record = dataclasses.replace(SPOKEN, use=(use,))
    assert {name for name, spec in TASKS.items() if spec.family == "s2s" and takes(spec, record)} == taken


def test_a_unit_beyond_the_vocabulary_is_named(vocabulary):
    record = dataclasses.replace(UTTERANCE, speech=Speech.from_frames(np.array([CODES])))
    with pytest.raises(BadRecord, match=f"<{CODES}>"):
        list(examples(record, TASKS["asr_en"], DataConfig(), vocabulary))


def test_header_loss_and_double_bos_reproduce_the_scripts(vocabulary):
    from cslm_jax.chat import ChatConfig

    config = DataConfig(chat=ChatConfig(loss_on_header=True, double_bos=True))
    whole, trained = only(UTTERANCE, "asr_en", vocabulary, config)
    assert whole.startswith("<|begin_of_text|><|begin_of_text|>")
    assert trained == "<|start_header_id|>assistant<|end_header_id|>\n\na red dog<|eot_id|>"


def test_groups_lose_nothing_and_keep_the_order(tmp_path, vocabulary):
    """Texts are encoded in groups; bad records lie inside of one and at the seams, and the last group is not full."""
    bad = {3, _TOGETHER - 1, _TOGETHER, 2 * _TOGETHER}
    made = [
        Utterance(id=str(i), language="en", text=f"dog {i}", speech=Speech.from_frames(np.array([CODES if i in bad else 1])))
        for i in range(2 * _TOGETHER + 10)
    ]
    write_records(tmp_path / "records" / "corpus", made)
    config, aside = DataConfig(records=str(tmp_path / "records")), []
    found = list(read_examples(TASKS["asr_en"], "train", config, vocabulary, lambda id, file, error: aside.append(int(id))))
    assert [int(example.id) for example in found] == [i for i in range(len(made)) if i not in bad]
    assert set(aside) == bad
    for example, record in zip(found, [record for record in made if int(record.id) not in bad], strict=True):
        assert vocabulary.decode(example.tokens.tolist()).endswith(f"{record.text}<|eot_id|>")
