"""What the fields of records must hold; each check raises BadRecord naming the field."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cslm_jax.errors import BadRecord
from cslm_jax.speech.align import Word
from cslm_jax.speech.units import Speech


def check_text(field: str, text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise BadRecord("record", f"field `{field}` is {'empty' if not text else repr(text)}; it must be text")


def check_speech(field: str, speech: Any) -> None:
    if not isinstance(speech, Speech):
        raise BadRecord("record", f"field `{field}` is missing")
    units, runs = np.asarray(speech.units), np.asarray(speech.run_lengths)
    if not len(units) or len(units) != len(runs) or runs.min() < 1:
        raise BadRecord("record", f"field `{field}` needs at least one unit, and a run length of 1 or more for each")
    if not isinstance(speech.unit_rate, (int, float)) or not 0 < speech.unit_rate < math.inf:
        raise BadRecord("record", f"field `{field}.unit_rate` is {speech.unit_rate!r}; it must be above 0")


def check_words(field: str, words: Sequence[Word], text: str) -> None:
    """Both the characters and the times of words must be in order."""
    characters = [0, *(at for word in words for at in (word.start_char, word.end_char)), len(text)]
    if any(before > after for before, after in itertools.pairwise(characters)):
        raise BadRecord("record", f"field `{field}` spans characters outside the text or out of order: {text[:40]!r}")
    times = [0.0, *(at for word in words for at in (word.start_s, word.end_s))]
    if not all(before <= after < math.inf for before, after in itertools.pairwise(times)):
        raise BadRecord("record", f"field `{field}` has times that are not finite or not in order")
