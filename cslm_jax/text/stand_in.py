"""A text part without text: ids that mean nothing, for synthetic data on a machine without a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

from cslm_jax.errors import CslmError
from cslm_jax.text import CHAT_MARKERS


class StandInText:
    """So many ids, the last of them the chat markers.

    Args:
        size: number of ids, the markers' among them.
    """

    FILE = "stand_in"

    def __init__(self, size: int):
        self.size = size
        self.model = f"stand-in of {size} ids".encode()
        self.markers = {marker: size - len(CHAT_MARKERS) + i for i, marker in enumerate(CHAT_MARKERS)}

    def encode(self, text: str) -> list[int]:
        raise CslmError("there is no vocabulary to write text with; make one with `cslm vocabulary`")

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return list(map(self.encode, texts))

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(f"[{id}]" for id in ids)
