"""Llama 3's text tokenizer as the text part of a joint vocabulary (ports: the published `tokenizer.json` and `tokenizer.model`).

Its 256 special tokens are not text: they are handed to the joint vocabulary as markers and taken out of the tokenizer
itself, so that a text which happens to contain `<|eot_id|>` stays text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiktoken
from tokenizers import Tokenizer

from cslm_jax.errors import CslmError
from cslm_jax.text import CHAT_MARKERS
from cslm_jax.text.llama3_json import PRE_TOKENIZER, SPLIT, alphabet, from_ranks

# Characters; the regular expression of tiktoken gives up on repetitions ten times as long.
_LONG = 100_000


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
        self._ranked = _ranked(plain)

    def encode(self, text: str) -> list[int]:
        if self._ranked is None or len(text) > _LONG:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._ranked.encode_ordinary(text)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        if self._ranked is None:
            return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        return list(map(self.encode, texts))

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
            return cls(path.read_bytes() if path.suffix == ".json" else from_ranks(path.read_bytes()))
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


def _ranked(description: dict[str, Any]) -> tiktoken.Encoding | None:
    """The same tokenizer in tiktoken, for which it was made, and which encodes about five times as fast as `tokenizers`.

    None for one that splits text in another way, or merges in another order than that of its ids.
    """
    model, bytes_of = description["model"], {character: byte for byte, character in enumerate(alphabet())}
    vocabulary = model["vocab"]
    merged = [vocabulary.get("".join(pair).replace(" ", "")) for pair in model.get("merges", ())]
    if (
        description.get("normalizer")
        or description.get("pre_tokenizer") != PRE_TOKENIZER
        or not model.get("ignore_merges")
        or model.get("dropout")
        or None in merged
        or merged != sorted(merged)
        or not set(bytes_of) <= set(vocabulary)
        or not set(bytes_of) >= set("".join(vocabulary))
    ):
        return None
    ranks = {bytes(bytes_of[character] for character in piece): rank for piece, rank in vocabulary.items()}
    return tiktoken.Encoding("llama3", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})
