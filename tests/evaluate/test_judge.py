"""The judge of the miniature looks at content words, in their order."""

import pytest

from cslm_jax.evaluate.judge import JUDGES, Answer
from cslm_jax.miniature.questions import questions


def judged(judge: str, reference: str, answer: str, language: str = "en") -> bool:
    return JUDGES[judge](Answer("?", reference, answer, language))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_right_answers_are_correct_and_others_are_not(language):
    items = questions(0)[:200]
    answers = [item.answer[language] for item in items]
    assert all(judged("same_content_words", answer, answer, language) for answer in answers)
    other = [judged("same_content_words", a, b, language) for a, b in zip(answers, answers[1:], strict=False) if a != b]
    assert sum(other) < 0.05 * len(other)


def test_an_empty_answer_is_wrong():
    assert not judged("same_content_words", questions(0)[0].answer["en"], "")


def test_same_text_forgives_case_and_punctuation_only():
    assert judged("same_text", "It is red.", "it is red")
    assert not judged("same_text", "It is red.", "it is read")
    assert judged("same_text", "它是红色的。", "它是红色的", "zh")
