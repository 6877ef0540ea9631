"""When each word of a text is spoken (paper section 3).

The paper leaves open what a word is and what becomes of what the aligner cannot spell; decided here, each with a golden test:

* **Words.** A Han character or kana is one word; anything else is a run of letters and digits, with
  apostrophes and decimal points inside it; a number takes its currency and percent sign along, and "&", "+",
  "=" and "@" are words, for they are spoken. The script decides, not the language of the record, so an English
  word inside Chinese counts as one.
* **What is listened for.** Numbers and symbols as the language says them (`normalise.said`); words and chunks
  remain spans of the text as it is written.
* **Unknown characters.** A run of characters outside the aligner's alphabet (another script, numbers that have
  no single reading) becomes one star label, which fits any frame at no cost. A text without a known character
  is rejected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import regex
from jaxtyping import Float

from cslm_jax.errors import BadRecord
from cslm_jax.speech import ctc, normalise, viterbi

# Iteration mark and zero, kana, the Han blocks.
_IDEOGRAPH = "\u3005\u3007\u3041-\u3096\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
# Marks belong to the letter before them: the vowels of Hindi, accents that are characters of their own.
_LETTER = rf"(?![{_IDEOGRAPH}])[\p{{L}}\p{{N}}]\p{{M}}*"
_RUN = rf"(?:{_LETTER})+(?:(?:['’](?={_LETTER})|(?<=\d)[.,:](?=\d))(?:{_LETTER})+)*"
_WORD = regex.compile(rf"[{_IDEOGRAPH}]\p{{M}}*|[&+=@＆＋＝＠]|(?:[$€£¥＄￡￥](?=\d))?{_RUN}(?:(?<=\d)(?:\s?[%％]|°(?![CF])))?")
# Neither spaces nor one character a word: what a chunk of seven words is would need a segmenter.
_UNSEGMENTED = {"th": "Thai", "lo": "Lao", "km": "Khmer", "my": "Burmese"}


@dataclasses.dataclass(frozen=True)
class Word:
    """Characters start_char .. end_char of a text, spoken from start_s to end_s (seconds)."""

    start_char: int
    end_char: int
    start_s: float
    end_s: float


def words(text: str, language: str) -> list[tuple[int, int]]:
    """Character spans of the words of a text.

    Raises:
        BadRecord: (stage "align") the language has no rule for what a word is.
    """
    if language in _UNSEGMENTED:
        raise BadRecord("align", f"no rule for words in {_UNSEGMENTED[language]} (language {language!r})")
    return [match.span() for match in _WORD.finditer(text)]


def align(
    text: str, language: str, log_probs: Float[np.ndarray, "T V"], labels: ctc.Labels, frame_rate: float
) -> tuple[Word, ...]:
    """The words of `text` with the times at which they are spoken.

    Args:
        log_probs: frame log-probabilities of a CTC model.
        labels: the alphabet of that model.
        frame_rate: frames of `log_probs` a second.

    Raises:
        BadRecord: (stage "align") no word, no character of the alphabet, or too little sound for the text.
    """
    (words,) = align_batch([text], [language], [log_probs], labels, frame_rate)
    if isinstance(words, BadRecord):
        raise words
    return words


def align_batch(
    texts: Sequence[str],
    languages: Sequence[str],
    log_probs: Sequence[Float[np.ndarray, "_ V"] | BadRecord],
    labels: ctc.Labels,
    frame_rate: float,
) -> list[tuple[Word, ...] | BadRecord]:
    """`align` of many texts, or the reason why one cannot be aligned, which may stand in the place of its log-probabilities."""
    targets = [_alignable(*given, labels) for given in zip(texts, languages, log_probs, strict=True)]
    good = [i for i, target in enumerate(targets) if not isinstance(target, BadRecord)]
    paths = viterbi.align_batch([log_probs[i] for i in good], [targets[i].labels for i in good], labels.blank)
    results: list = list(targets)
    for i, path in zip(good, paths, strict=True):
        results[i] = _timed(targets[i], path, frame_rate)
    return results


@dataclasses.dataclass(frozen=True)
class _Target:
    """What is listened for: the labels of a text."""

    spans: list[tuple[int, int]]
    """Its words."""
    labels: np.ndarray
    word_of: np.ndarray
    """The word that each label belongs to, -1 for the space between two words."""


def _alignable(
    text: str, language: str, log_probs: Float[np.ndarray, "T V"] | BadRecord, labels: ctc.Labels
) -> _Target | BadRecord:
    if isinstance(log_probs, BadRecord):
        return log_probs
    try:
        target = _target(text, language, labels)
        viterbi.check_alignable(len(log_probs), target.labels)
        return target
    except BadRecord as error:
        return error


def _timed(target: _Target, path: viterbi.Path, frame_rate: float) -> tuple[Word, ...]:
    spoken = np.where(path >= 0, target.word_of[path], -1)
    frames = [np.flatnonzero(spoken == i)[[0, -1]] for i in range(len(target.spans))]
    return tuple(
        Word(*span, float(first) / frame_rate, float(last + 1) / frame_rate)
        for span, (first, last) in zip(target.spans, frames, strict=True)
    )


def _target(text: str, language: str, labels: ctc.Labels) -> _Target:
    spans = words(text, language)
    targets: list[int] = []
    word_of: list[int] = []
    for i, (start, end) in enumerate(spans):
        if i and start > spans[i - 1][1] and not (ctc.is_han(text[start]) or ctc.is_han(text[spans[i - 1][1] - 1])):
            gap = [label for label in labels.encode(" ").tolist() if label != ctc.STAR]
            targets += gap
            word_of += [-1] * len(gap)
        word = _word_labels(text[start:end], language, text[end:], labels)
        targets += word
        word_of += [i] * len(word)
    if all(target == ctc.STAR for target, word in zip(targets, word_of, strict=True) if word >= 0):
        raise BadRecord("align", f"no character of the text is in the aligner's alphabet: {text[:40]!r}")
    return _Target(spans, np.array(targets, np.int32), np.array(word_of, np.int32))


def _word_labels(word: str, language: str, after: str, labels: ctc.Labels) -> list[int]:
    """Labels of one word; a run of unknown characters is one star, for how it is spoken is not known."""
    ids = labels.encode(word)
    if ctc.STAR in ids:
        said = normalise.said(word, language, after)
        pairs = zip(said, labels.encode(said), strict=True)
        ids = [label for character, label in pairs if label != ctc.STAR or character not in " '"]
    return [int(label) for i, label in enumerate(ids) if label != ctc.STAR or i == 0 or ids[i - 1] != ctc.STAR]
