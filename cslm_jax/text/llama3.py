"""Llama 3's text tokenizer as the text part of a joint vocabulary (ports: the published `tokenizer.json` and `tokenizer.model`).

Its 256 special tokens are not text: they are handed to the joint vocabulary as markers and taken out of the tokenizer
itself, so that a text which happens to contain `<|eot_id|>` stays text.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from cslm_jax.errors import CslmError
from cslm_jax.text import CHAT_MARKERS

# How a text is split before byte pairs are merged inside the parts; published with the weights.
_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPECIAL = 256
_NAMED = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    4: "<|finetune_right_pad_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
}
"""Special tokens of Llama 3.1 by place; the others are `<|reserved_special_token_N|>`."""


class Llama3Text:
    """Byte pairs of Llama 3; the special tokens follow them, as in the published table of 128,256 rows."""

    FILE = "tokenizer.json"

    def __init__(self, model: bytes):
        """`model` is the content of a tokenizer.json (Hugging Face `tokenizers`).

        Raises:
            ValueError: it is no such file, or its special tokens do not follow its pieces.
        """
        self.model = model
        description = _described(model)
        self.markers = {token["content"]: token["id"] for token in description["added_tokens"]}
        pieces = len(description["model"]["vocab"])
        self.size = pieces + len(self.markers)
        if sorted(self.markers.values()) != list(range(pieces, self.size)):
            raise ValueError(f"the special tokens do not have the {len(self.markers)} ids that follow its {pieces} pieces")
        if missing := [marker for marker in CHAT_MARKERS if marker not in self.markers]:
            raise ValueError(f"it lacks the special tokens {', '.join(missing)}")
        # The post-processor would add a BOS of its own to every part of a chat.
        plain = description | {"added_tokens": [], "post_processor": None}
        try:
            self._tokenizer = Tokenizer.from_str(json.dumps(plain))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ValueError(str(error)) from error

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    @classmethod
    def read(cls, path: str | Path) -> Llama3Text:
        """From `tokenizer.json`, the tiktoken-form `tokenizer.model`, or a folder that holds one of them.

        Raises:
            CslmError: there is no such file, or it cannot be read as one.
        """
        path = _file(Path(path))
        try:
            return cls(path.read_bytes() if path.suffix == ".json" else _from_ranks(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise CslmError(f"{path} is no tokenizer of Llama 3 ({error}); take tokenizer.json or tokenizer.model") from error


def _file(path: Path) -> Path:
    names = (path / "tokenizer.json", path / "tokenizer.model", path / "original" / "tokenizer.model")
    for file in (path,) if path.is_file() else names:
        if file.is_file():
            return file
    raise CslmError(f"{path} holds no tokenizer: there is neither tokenizer.json nor tokenizer.model")


def _described(model: bytes) -> dict[str, Any]:
    description = json.loads(model)
    match description:
        case {"model": {"type": "BPE", "vocab": dict()}, "added_tokens": [*added]} if all(map(_is_added, added)):
            return description
    raise ValueError("no byte-pair tokenizer with added tokens")


def _is_added(token: Any) -> bool:
    match token:
        case {"content": str(), "id": int()}:
            return True
    return False


def _from_ranks(content: bytes) -> bytes:
    """tokenizer.json of a tiktoken file: a line a piece, `base64(bytes) rank`."""
    ranks = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            piece, rank = line.split()
            ranks[base64.b64decode(piece, validate=True)] = int(rank)
        except ValueError:
            raise ValueError(f"line {number} is not `base64 rank`: {line[:40]!r}") from None
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise ValueError("the ranks are not 0, 1, 2, ...")
    return json.dumps(_description(ranks), ensure_ascii=False).encode()


def _description(ranks: dict[bytes, int]) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": _SPLIT}, "behavior": "Isolated", "invert": False}
    written = {piece: _written(piece) for piece in ranks}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(len(ranks) + i, name, special=True) for i, name in enumerate(_special_names())],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
            "vocab": {written[piece]: rank for piece, rank in ranks.items()},
            "merges": [[written[left], written[right]] for left, right in _merges(ranks)],
        },
    }  # fmt: skip


def added_token(token: int, content: str, special: bool) -> dict[str, Any]:
    """An entry of `added_tokens` that is matched exactly where it stands."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": content, "special": special, **flags}


def _special_names() -> Iterator[str]:
    reserved = 0
    for place in range(_SPECIAL):
        if place in _NAMED:
            yield _NAMED[place]
        else:
            yield f"<|reserved_special_token_{reserved}|>"
            reserved += 1


def _merges(ranks: dict[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The two pieces that each piece was merged from: what is left of it when only lower ranks may merge."""
    for piece, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [piece[i : i + 1] for i in range(len(piece))]
        while len(parts) > 2:
            pairs = [ranks.get(left + right, rank) for left, right in zip(parts, parts[1:])]
            lowest = min(pairs)
            if lowest >= rank:
                break
            at = pairs.index(lowest)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            yield parts[0], parts[1]


def _written(piece: bytes) -> str:
    return "".join(_alphabet()[byte] for byte in piece)


@functools.cache
def _alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte in tokenizer.json (byte-level BPE, Radford et al. 2019)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(hidden)) for byte in range(256))
