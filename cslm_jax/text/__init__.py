"""The text part of a joint vocabulary: trained here (SentencePiece), or published with a text LM (Llama 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

BOS, START_HEADER, END_HEADER, EOT = "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
CHAT_MARKERS = (BOS, START_HEADER, END_HEADER, EOT)


class TextPart(Protocol):
    """A text tokenizer with the markers of its chats."""

    FILE: ClassVar[str]
    """Name under which a vocabulary keeps `model`."""
    model: bytes
    """All that the tokenizer is, as the content of a file."""
    size: int
    """Number of ids, the markers' among them."""
    markers: Mapping[str, int]
    """Ids of its markers, those of CHAT_MARKERS at least."""

    def __init__(self, model: bytes): ...

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: never a marker."""

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, none of them a marker."""
