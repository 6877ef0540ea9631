"""Error rates between texts (paper section 5): WER for languages with spaces, CER for those without."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from typing import Literal

import jiwer
import numpy as np

from cslm_jax.speech import ctc

_BY_CHARACTER = frozenset({"zh", "ja", "yue", "th", "lo", "km", "my"})


@dataclasses.dataclass(frozen=True)
class ErrorRate:
    """Edits between references and hypotheses, over a whole test set."""

    rate: float
    """Edits per reference word or character; more than 1 when much was added."""
    n: int
    """Items compared."""
    edits: tuple[int, ...]
    """Substitutions, deletions and insertions of each item."""
    lengths: tuple[int, ...]
    """Reference words or characters of each item."""


def rate_name(language: str) -> Literal["wer", "cer"]:
    """Which rate is usual for a language."""
    return "cer" if language in _BY_CHARACTER else "wer"


def normalise(text: str, language: str) -> str:
    """What two texts are compared by: letters and digits, no case, no punctuation, one form of each character.

    Full-width forms become ordinary ones (NFKC). Where characters are counted, spaces do not matter; elsewhere
    apostrophes do not ("don't" = "dont"). Numbers are compared as written: "3" is not "three".
    """
    spoken = ctc.spoken(unicodedata.normalize("NFKC", text))
    return spoken.replace(" ", "") if rate_name(language) == "cer" else spoken


def error_rate(references: Sequence[str], hypotheses: Sequence[str], language: str) -> ErrorRate:
    """WER or CER of a test set: all edits over all reference words (characters), not the mean of the items' rates.

    Without a single reference word the rate is 1: whoever says nothing has said nothing right.
    """
    process = jiwer.process_characters if rate_name(language) == "cer" else jiwer.process_words
    edits, lengths = [], []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        found = process(normalise(reference, language), normalise(hypothesis, language))
        edits.append(found.substitutions + found.deletions + found.insertions)
        lengths.append(found.hits + found.substitutions + found.deletions)
    return ErrorRate(sum(edits) / sum(lengths) if sum(lengths) else 1.0, len(edits), tuple(edits), tuple(lengths))


def interval(
    values: Sequence[float], weights: Sequence[float] | None = None, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95% bootstrap interval (percentile) of sum(values) / sum(weights), the items being resampled.

    With edits and lengths this is the interval of an error rate; without weights, that of a mean.
    """
    values = np.asarray(values, float)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    picked = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    rates = values[picked].sum(-1) / np.maximum(weights[picked].sum(-1), 1)
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
