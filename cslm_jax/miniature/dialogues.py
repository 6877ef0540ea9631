"""Text instructions of the miniature world: single- and multi-turn, in one language each."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from cslm_jax.miniature.lexicon import LANGUAGES, PEOPLE, Pair
from cslm_jax.miniature.questions import QuestionAnswer, about, questions
from cslm_jax.miniature.shuffle import sample, shuffled
from cslm_jax.miniature.split import split
from cslm_jax.miniature.text import sentence
from cslm_jax.miniature.world import ATTRIBUTES, fact, the

SINGLE_TURN = 4000
"""Dialogues of one question, for each language."""
MULTI_TURN = 600
"""Dialogues of two or three questions about anything, for each language."""
FOLLOW_UPS = 300
"""Dialogues in which the second question is short for the first one, for each language."""


@dataclasses.dataclass(frozen=True)
class TextDialogue:
    """A written conversation; all of its turns lie on one side of the split."""

    language: str
    turns: tuple[tuple[str, str], ...]
    """(user, assistant) in order."""
    meanings: tuple[str, ...]
    """Of the turns, in order; `split` puts all of them on the same side."""


def dialogues(seed: int = 0) -> list[TextDialogue]:
    """All dialogues of both languages, shuffled."""
    made = [_dialogues(language, f"{seed} {language}") for language in LANGUAGES]
    return shuffled(itertools.chain(*made), seed)


def _dialogues(language: str, seed: str) -> list[TextDialogue]:
    asked = questions(seed)
    singles = [_dialogue(language, (item,)) for item in asked[:SINGLE_TURN]]
    groups = itertools.chain(*(_groups(side) for side in _sides(asked[SINGLE_TURN:])))
    several = [_dialogue(language, group) for group in sample(groups, MULTI_TURN, seed)]
    return [*singles, *several, *sample(_follow_ups(language), FOLLOW_UPS, seed)]


def _dialogue(language: str, items: tuple[QuestionAnswer, ...]) -> TextDialogue:
    turns = tuple((item.question[language], item.answer[language]) for item in items)
    return TextDialogue(language, turns, tuple(item.meaning for item in items))


def _sides(items: list[QuestionAnswer]) -> Iterator[list[QuestionAnswer]]:
    for side in ("train", "validation"):
        yield [item for item in items if split(item.meaning) == side]


def _groups(items: list[QuestionAnswer]) -> Iterator[tuple[QuestionAnswer, ...]]:
    """Twos and threes in turn."""
    rest = iter(items)
    for size in itertools.cycle((2, 3)):
        group = tuple(itertools.islice(rest, size))
        if len(group) < size:
            return
        yield group


def _follow_ups(language: str) -> Iterator[TextDialogue]:
    """ "what does the cook eat?" ... "and what about the farmer?" """
    for attribute, (person, other) in itertools.product(ATTRIBUTES, itertools.permutations(PEOPLE, 2)):
        first, second = (next(about(fact(who, attribute))) for who in (person, other))
        if split(first.meaning) == split(second.meaning):
            short = sentence(Pair(f"and what about {the(other).en}", f"{other.zh}呢"), "?")
            yield _dialogue(language, (first, dataclasses.replace(second, question=short)))
