"""Is an answer correct? The place where an LLM judge plugs in later (paper section 5, content)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from cslm_jax.evaluate.metrics import normalise
from cslm_jax.miniature.text import content_words


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a judge is shown."""

    question: str
    """What was asked, in the language in which it was asked."""
    reference: str
    """A right answer."""
    answer: str
    """The model's answer as text."""
    language: str
    """In which the answer should be; the reference is."""


class Judge(Protocol):
    """Judges one answer."""

    def __call__(self, answer: Answer) -> bool: ...


def same_content_words(answer: Answer) -> bool:
    """The miniature's judge: people, values, numbers, yes and no are those of the right answer, in its order."""
    expected = content_words(answer.reference, answer.language)
    return content_words(answer.answer, answer.language) == expected


def same_text(answer: Answer) -> bool:
    """Equal to the reference but for case and punctuation: for corpora whose answers have one wording."""
    return normalise(answer.answer, answer.language) == normalise(answer.reference, answer.language)


JUDGES: Mapping[str, Judge] = {"same_content_words": same_content_words, "same_text": same_text}
