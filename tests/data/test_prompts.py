"""The instructions are the contract between training and inference: stable, distinct, in the right language."""

import collections

import pytest

from cslm_jax.data import prompts
from cslm_jax.errors import CslmError

DIRECTIONS = [("en", "en"), ("zh", "zh"), ("en", "zh"), ("zh", "en")]


def _is_chinese(text):
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def _drawn(task, language, target, n=2000):
    return collections.Counter(prompts.choose(task, language, f"id{i}", target) for i in range(n))


@pytest.mark.parametrize("task", prompts.TEMPLATES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_ten_distinct_instructions_per_task_and_language(task, language):
    templates = prompts.TEMPLATES[task][language]
    assert len(set(templates)) == 10
    assert all(_is_chinese(template) == (language == "zh") for template in templates)


def test_no_two_tasks_share_an_instruction():
    """An instruction that two tasks share would leave the model guessing what to do."""
    used = collections.Counter(template for task in prompts.TEMPLATES.values() for known in task.values() for template in known)
    assert max(used.values()) == 1


@pytest.mark.parametrize(("task", "language", "target"), [("asr", "en", "en"), ("tts", "zh", "zh"), ("mt", "en", "zh")])
def test_every_instruction_is_drawn_about_equally_often(task, language, target):
    drawn = _drawn(task, language, target)
    assert len(drawn) == 10
    assert min(drawn.values()) > 140


@pytest.mark.parametrize(("language", "target"), DIRECTIONS)
def test_half_of_the_spoken_questions_come_with_the_instruction_of_inference(language, target):
    drawn = _drawn("s2s", language, target)
    assert len(drawn) == 10
    assert 0.45 < drawn[prompts.inference_instruction(language, target)] / 2000 < 0.55


def test_a_record_keeps_its_instruction():
    """Pinned: another hash would silently invalidate every cache and every comparison between runs."""
    assert prompts.choose("asr", "en", "statement-7") == prompts.choose("asr", "en", "statement-7", "en")
    assert [prompts.choose("asr", "en", f"id{i}") for i in range(3)] == [
        "Transcribe the following English audio.",
        "Note every word that is spoken here.",
        "What does the speaker say? Write it.",
    ]


def test_the_instructions_of_inference_are_those_of_the_paper():
    assert [prompts.inference_instruction(*direction) for direction in DIRECTIONS] == [
        "Please directly answer the questions in the user's speech.",
        "直接回答用户语音中的问题。",
        "用中文回答用户语音中的问题。",
        "Please answer the questions in the user's speech in English.",
    ]


def test_a_third_language_is_spoken_about_in_english():
    assert prompts.inference_instruction("en", "fr") == "Please answer the questions in the user's speech in French."
    assert all("English" not in text for text in _drawn("asr", "fr", "fr", 100))
    assert any("法文" in text for text in _drawn("mt", "zh", "fr", 100))


def test_a_nameless_language_is_an_error_that_says_where_to_name_it():
    with pytest.raises(CslmError, match="LANGUAGE_NAMES"):
        prompts.choose("asr", "xx", "id")


def test_a_task_without_instructions_is_an_error():
    with pytest.raises(CslmError, match="asr, tts, mt"):
        prompts.choose("text", "en", "id")


def test_the_user_turn_frames_the_input_in_the_language_of_the_instruction():
    speech = object()
    assert prompts.user_turn("Listen.", [speech]) == ("Listen. This is input: ", speech, ".")
    assert prompts.user_turn("听。", [speech]) == ("听。 这是输入: ", speech, "。")


def test_the_user_turn_does_not_end_in_two_full_stops():
    assert prompts.user_turn("Read.", ["a cat."]) == ("Read. This is input: ", "a cat.")
    assert prompts.user_turn("Read.", ["a cat"])[-1] == "."
