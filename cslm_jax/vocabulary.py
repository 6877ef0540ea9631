"""The joint vocabulary: text pieces, chat markers, speech units and speech markers in one id space.

Layout, low ids first (paper section 1; invariants 2 and 4 of the design)::

    text pieces | chat markers | units <0> .. <C-1> | <sosp> <eosp> [question] [answer] | partition padding
    ------- base_size -------- | ------------------- the extension --------------------

A text LM knows the first `base_size` ids; extending its vocabulary appends rows and moves none. Id 0 is
an ordinary piece, and partition padding is never an input: padding in a batch is segment id 0.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.text import CHAT_MARKERS, TextPart
from cslm_jax.text.llama3 import Llama3Text
from cslm_jax.text.sentencepiece import SentencePieceText

SPEECH_MARKERS = ("<sosp>", "<eosp>", "[question]", "[answer]")
_UNIT = r"<(?:0|[1-9]\d*)>"
_TEXT_PARTS: tuple[type[TextPart], ...] = (SentencePieceText, Llama3Text)


class JointVocabulary:
    """Knows every id; everything else asks it.

    Args:
        text: the text part.
        codes: number of speech units, the codebook size of the tokenizer (4,096 in the paper).
        pad_to: the table is padded to a multiple of this, so that it can be split over a mesh.
    """

    def __init__(self, text: TextPart, codes: int, pad_to: int = 128):
        self.text, self.codes, self.pad_to = text, codes, pad_to
        self.base_size = self.unit_offset = text.size
        first_marker = self.unit_offset + codes
        self.unpadded_size = first_marker + len(SPEECH_MARKERS)
        self.size = -(-self.unpadded_size // pad_to) * pad_to
        self._special = dict(text.markers)
        self._special.update({marker: first_marker + i for i, marker in enumerate(SPEECH_MARKERS)})
        self._names = {i: name for name, i in self._special.items()}
        self._splitter = re.compile("(" + "|".join([_UNIT, *map(re.escape, self._special)]) + ")")
        self.bos, self.start_header, self.end_header, self.eot = (self._special[m] for m in CHAT_MARKERS)
        self.sosp, self.eosp, self.question, self.answer = (self._special[m] for m in SPEECH_MARKERS)

    # Units -----------------------------------------------------------------------------------------

    def unit_ids(self, units: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
        """Ids of codes; BadRecord names the first code outside 0 .. codes-1."""
        units = np.asarray(units, np.int32)
        # As unsigned numbers, negative ones are the largest: one look at each tells both.
        if units.size and units.view(np.uint32).max() >= self.codes:
            wrong = units[(units < 0) | (units >= self.codes)]
            raise BadRecord("units", f"unit <{wrong[0]}> is not one of the {self.codes} codes <0>..<{self.codes - 1}>")
        return units + self.unit_offset

    def is_unit(self, ids: Int[np.ndarray, "N"]) -> Bool[np.ndarray, "N"]:
        ids = np.asarray(ids)
        return (ids >= self.unit_offset) & (ids < self.unit_offset + self.codes)

    def is_text(self, token: int) -> bool:
        """Whether an id is a text piece: no unit, no marker, no padding."""
        return self._name(token) is None

    def to_units(self, ids: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
        """Codes of unit ids; the caller has checked `is_unit`."""
        return np.asarray(ids, np.int32) - self.unit_offset

    # Strings ---------------------------------------------------------------------------------------

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text; what looks like a unit or a marker stays text (nobody can inject one)."""
        return self.text.encode(text)

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode_text` of each text, sooner than one by one."""
        return self.text.encode_all(texts)

    def encode(self, string: str) -> list[int]:
        """Ids of a mixed string of text, units `<12>` and markers, in one pass; `decode` gives it back."""
        ids: list[int] = []
        for i, part in enumerate(self._splitter.split(string)):
            if i % 2 == 0:
                ids.extend(self.text.encode(part) if part else ())
            elif part in self._special:
                ids.append(self._special[part])
            else:
                ids.append(int(self.unit_ids(np.array([int(part[1:-1])]))[0]))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The string of ids; markers and units are written out, partition padding as `<padding>`."""
        out: list[str] = []
        run: list[int] = []
        for token in map(int, ids):
            name = self._name(token)
            if name is None:
                run.append(token)
                continue
            if run:
                out.append(self.text.decode(run))
                run = []
            out.append(name)
        if run:
            out.append(self.text.decode(run))
        return "".join(out)

    def _name(self, token: int) -> str | None:
        """How a special id is written; None for a text piece."""
        if token in self._names:
            return self._names[token]
        if self.unit_offset <= token < self.unit_offset + self.codes:
            return f"<{token - self.unit_offset}>"
        return None if token < self.base_size else "<padding>"

    # Files -----------------------------------------------------------------------------------------

    @functools.cached_property
    def sha256(self) -> str:
        """Fingerprint of everything that decides an id: caches and checkpoints carry it."""
        return hashlib.sha256(self.text.model + f"|{self.codes}|{self.pad_to}".encode()).hexdigest()

    def save(self, directory: str | Path) -> None:
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory / self.text.FILE, self.text.model)
        layout = {"codes": self.codes, "pad_to": self.pad_to, "sha256": self.sha256}
        # Written last: a directory without it is an unfinished one.
        _write(directory / "vocabulary.json", json.dumps(layout, indent=2).encode())

    @classmethod
    def load(cls, directory: str | Path) -> JointVocabulary:
        directory = Path(directory)
        try:
            layout = json.loads((directory / "vocabulary.json").read_text(encoding="utf-8"))
            text = _read_text(directory)
        except (OSError, RuntimeError, ValueError) as error:
            raise CslmError(
                f"no usable vocabulary in {directory} ({error}); make one with `cslm vocabulary`, or point "
                "--config.data.vocabulary at the directory that holds vocabulary.json"
            ) from error
        vocabulary = cls(text, *_sizes(layout, directory / "vocabulary.json"))
        if vocabulary.sha256 != layout["sha256"]:
            raise CslmError(f"{directory}/{text.FILE} is not the file that vocabulary.json was written with; restore it")
        return vocabulary


def _read_text(directory: Path) -> TextPart:
    for kind in _TEXT_PARTS:
        if (directory / kind.FILE).exists():
            return kind((directory / kind.FILE).read_bytes())
    raise FileNotFoundError(f"there is no {' or '.join(kind.FILE for kind in _TEXT_PARTS)}")


def _sizes(layout: Any, path: Path) -> tuple[int, int]:
    """Codes and padding that a vocabulary.json tells."""
    match layout:
        case {"codes": int(codes), "pad_to": int(pad_to), "sha256": str()} if codes > 0 and pad_to > 0:
            return codes, pad_to
    raise CslmError(f"{path} lacks `codes`, `pad_to` or `sha256`, or has a wrong one; restore it, or run `cslm vocabulary`")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
