"""Fields of records: what they must hold, and how they are read from bytes; BadRecord names the one that is wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
from jaxtyping import Int

from cslm_jax.errors import BadRecord
from cslm_jax.speech.align import Word
from cslm_jax.speech.units import Speech


def check_id(id: Any) -> None:
    # Any line break, not only \n: ids are written one a line, and others read them too.
    if not isinstance(id, str) or id.splitlines() != [id]:
        raise BadRecord("record", f"field `id` is {id!r}; it must be one line of text")
    check_writable("id", id)


def check_text(field: str, text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise BadRecord("record", f"field `{field}` is {'empty' if not text else repr(text)}; it must be text")
    check_writable(field, text)


def check_writable(field: str, text: Any) -> None:
    """JSON may spell half a character, and so may the name of a file; no file can hold it as text."""
    if not isinstance(text, str):
        raise BadRecord("record", f"field `{field}` is {text!r}; it must be text")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise BadRecord("record", f"field `{field}` has half a surrogate pair: {text[error.start : error.end]!a}") from None


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


# From bytes; `path` names the value that is read ----------------------------------------------------


def read_fields(content: bytes) -> dict[str, Any]:
    try:
        fields = msgpack.unpackb(content)
    except (ValueError, TypeError) as error:
        raise BadRecord("record", f"the bytes are not msgpack: {error}") from error
    return read_as(dict, fields, "record")


def read_as(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, kind):
        raise BadRecord("record", f"field `{path}` is {str(value)[:40]!r}; it must be a {kind.__name__}")
    return value


def read_member(value: Any, name: str, path: str) -> Any:
    """value[name], where `path` names the value."""
    if name not in read_as(dict, value, path):
        raise BadRecord("record", f"field `{path}.{name}` is missing")
    return value[name]


def read_speech(value: Any, path: str) -> Speech:
    return Speech(*(_read_int32(value, name, path) for name in ("units", "run_lengths")), read_member(value, "unit_rate", path))


def _read_int32(value: Any, name: str, path: str) -> Int[np.ndarray, "N"]:
    content = read_as(bytes, read_member(value, name, path), f"{path}.{name}")
    if len(content) % 4:
        raise BadRecord("record", f"field `{path}.{name}` has {len(content)} bytes; it must be 4 for each number")
    return np.frombuffer(content, "<i4")


def read_word(value: Any, path: str) -> Word:
    match value:
        case [int(), int(), int() | float(), int() | float()]:
            return Word(*value)
    raise BadRecord("record", f"field `{path}` has {value!r}; a word is two characters and two times")


def read_tuple(value: Any, path: str) -> tuple:
    return tuple(read_as(list, value, path))
