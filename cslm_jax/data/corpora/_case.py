"""Transcripts in capitals, written as people write."""

from __future__ import annotations

import re
from typing import Literal

Case = Literal["published", "lower", "sentence"]
"""published: as it is; lower: small letters; sentence: capitals where a sentence begins, and I (names stay small)."""

_FIRST = re.compile(r"(^|[.?!]\s+)([^\W\d_])")
_I = re.compile(r"\bi\b")


def cased(text: str, case: Case) -> str:
    if case == "published":
        return text
    small = text.lower()
    return small if case == "lower" else _FIRST.sub(lambda found: found[0].upper(), _I.sub("I", small))
