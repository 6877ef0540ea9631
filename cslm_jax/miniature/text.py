"""Sentences of the miniature world as written text: punctuation, and the words that carry content."""

from __future__ import annotations

import functools
import re

from cslm_jax.miniature.lexicon import (
    ADJECTIVES,
    ANIMALS,
    BOOK,
    COLOURS,
    DAYS,
    FALSE,
    FOODS,
    HOBBIES,
    LANGUAGES,
    NUMBERS,
    PEOPLE,
    PLACES,
    TRUE,
    Pair,
    counting_word,
)

_CHINESE_MARK = {".": "。", "?": "？"}


def sentence(clause: Pair, mark: str) -> Pair:
    """A clause with its full stop or question mark."""
    return Pair(clause.en + mark, clause.zh + _CHINESE_MARK[mark])


def content_words(text: str, language: str) -> tuple[str, ...]:
    """People, values, numbers, adjectives, days, true and false, in their order in the text."""
    return tuple(_pattern(language).findall(text.lower()))


@functools.cache
def _pattern(language: str) -> re.Pattern[str]:
    # The longest word first: 钓鱼 (fishing) is not 鱼 (fish).
    alternatives = "|".join(sorted(_content_lexicon()[language], key=lambda word: (-len(word), word)))
    return re.compile(rf"\b(?:{alternatives})\b" if language == "en" else alternatives)


def _content_lexicon() -> dict[str, set[str]]:
    nouns = [*ANIMALS, BOOK]
    pairs = [*PEOPLE, *PLACES, *FOODS, *COLOURS, *HOBBIES, *DAYS, *ADJECTIVES, TRUE, FALSE, *NUMBERS.values()]
    english = {word for pair in pairs for word in pair.en.split()} | {form for noun in nouns for form in (noun.one, noun.many)}
    chinese = {pair.zh for pair in pairs} | {noun.zh for noun in nouns} | {counting_word(2)}
    return dict(zip(LANGUAGES, (english - _FUNCTION_WORDS, chinese), strict=True))


_FUNCTION_WORDS = frozenset("by on in the".split())
