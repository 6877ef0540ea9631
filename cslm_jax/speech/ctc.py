"""Connectionist temporal classification: labels, what they say, and how many frames they need.

The best path of a text through log-probabilities is `cslm_jax.speech.viterbi`.
"""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from collections.abc import Iterable

import numpy as np
import regex
from jaxtyping import Float, Int

BLANK = 0
"""Label id of the blank in the project's own models, and wherever nothing else is said."""
STAR = -1
"""Stands in for a character outside the alphabet: it may be anything, so its log-probability is 0."""
# Marks (the vowels of Hindi, accents that are characters of their own) are heard with the letter before them.
_SILENT = regex.compile(r"[^\p{L}\p{N}\p{M}]+|(?<![\p{L}\p{N}\p{M}])\p{M}+")


@dataclasses.dataclass(frozen=True)
class Labels:
    """The characters that a CTC model tells apart, and the label id of each."""

    characters: tuple[str, ...]
    """One character each, none twice."""
    ids: tuple[int, ...] = ()
    """Label id of each character; left out: 1, 2, ... A model may have labels beyond these; they are never asked for."""
    blank: int = BLANK
    """Label id of the blank."""
    separator: str = " "
    """The character that stands between two words, where the alphabet has it."""

    def __post_init__(self):
        if any(len(character) != 1 for character in self.characters):
            raise ValueError("labels: every entry must be a single character")
        if len(set(self.characters)) != len(self.characters):
            raise ValueError("labels: a character occurs twice")
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(1, len(self.characters) + 1)))
        if len(self.ids) != len(self.characters) or len({self.blank, *self.ids}) != len(self.ids) + 1:
            raise ValueError("labels: every character needs an id of its own, other than the blank's")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Labels:
        """The alphabet of all `texts`, after `spoken`; one alphabet serves all languages."""
        return cls(tuple(sorted(set().union(*map(spoken, texts)))))

    @property
    def size(self) -> int:
        """Number of labels up to the last that has a meaning, with the blank."""
        return max(self.blank, *self.ids, 0) + 1

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        known = dict(zip(self.characters, self.ids, strict=True))
        return known | ({" ": known[self.separator]} if self.separator in known else {})

    @functools.cached_property
    def _characters(self) -> dict[int, str]:
        return {label: character for character, label in self._ids.items()}  # a space comes after the separator

    def encode(self, text: str) -> Int[np.ndarray, "L"]:
        """One label a character of `text`. What the alphabet lacks is looked for in the other case, then without
        its accent; characters that it does not have at all become STAR."""
        return np.array([self._ids.get(character) or self._find(character) for character in text], np.int32)

    def _find(self, character: str) -> int:
        base = unicodedata.normalize("NFD", character)[0]
        forms = (form for letter in (character, base) for form in (letter, letter.lower(), letter.upper()))
        return next((self._ids[form] for form in forms if form in self._ids), STAR)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of label ids in lower case; blanks, and labels that are no character, are left out."""
        return "".join(self._characters.get(int(i), "") for i in ids).lower()


def spoken(text: str) -> str:
    """What can be heard of a text: lower case letters and digits of any script with their marks, words parted by one space.

    Punctuation parts words like a space does, except the apostrophe, which is dropped. Scripts without spaces
    (Han) get none: a space is kept only between two characters of scripts that use them.
    """
    joined = " ".join(_SILENT.sub(" ", text.lower().replace("'", "").replace("’", "")).split())
    return "".join(c for i, c in enumerate(joined) if c != " " or not (is_han(joined[i - 1]) or is_han(joined[i + 1])))


def is_han(character: str) -> bool:
    """Whether a character is a Chinese one (the CJK unified ideographs and their first extension)."""
    return "\u4e00" <= character <= "\u9fff" or "\u3400" <= character <= "\u4dbf"


def greedy(log_probs: Float[np.ndarray, "T V"]) -> Int[np.ndarray, "L"]:
    """The best label of each frame, repeats merged, blanks removed."""
    best = np.argmax(log_probs, axis=-1)
    changed = np.diff(best, prepend=-1) != 0
    return best[changed & (best != BLANK)].astype(np.int32)


def frames_needed(labels: Int[np.ndarray, "L"]) -> int:
    """Fewest frames that can carry the labels: equal neighbours need a blank between them."""
    labels = np.asarray(labels)
    return len(labels) + int(np.sum(labels[1:] == labels[:-1]))
