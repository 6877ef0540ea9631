"""`tokenizer.json` of Llama 3, made of the file in tiktoken's form that is published with the weights."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator
from typing import Any

# How a text is split before byte pairs are merged inside the parts; published with the weights.
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}, _BYTE_LEVEL],
}
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


def from_ranks(content: bytes) -> bytes:
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
    written = {piece: _written(piece) for piece in ranks}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(len(ranks) + i, name, special=True) for i, name in enumerate(_special_names())],
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZER,
        "post_processor": None,
        "decoder": _BYTE_LEVEL | {"add_prefix_space": True},
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
    return "".join(alphabet()[byte] for byte in piece)


@functools.cache
def alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte in tokenizer.json (byte-level BPE, Radford et al. 2019)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(hidden)) for byte in range(256))
