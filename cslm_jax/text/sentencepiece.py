"""A SentencePiece model as the text part of a joint vocabulary: what this project trains itself."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterable, Sequence

import sentencepiece

from cslm_jax.errors import CslmError
from cslm_jax.text import CHAT_MARKERS

# SentencePiece writes a space as this character and reads it back as one: in a text it must go as bytes.
_SPACE = "\u2581"


class SentencePieceText:
    """A SentencePiece model as the text part; the chat markers follow its pieces."""

    FILE = "text.model"

    def __init__(self, model: bytes):
        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        pieces = self._processor.get_piece_size()
        self.markers = {marker: pieces + i for i, marker in enumerate(CHAT_MARKERS)}
        self.size = pieces + len(CHAT_MARKERS)

    def encode(self, text: str) -> list[int]:
        first, *rest = text.split(_SPACE)
        return self._processor.encode(first) + [i for part in rest for i in (*self._space, *self._processor.encode(part))]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        ids = self._processor.encode(list(texts))
        return [self.encode(text) if _SPACE in text else found for text, found in zip(texts, ids, strict=True)]

    @functools.cached_property
    def _space(self) -> list[int]:
        return [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE.encode()]

    def decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode(list(ids))

    @classmethod
    def train(cls, lines: Iterable[str], pieces: int) -> SentencePieceText:
        """Trains a model that gives every text back exactly.

        No normalisation, no dummy prefix, bytes for unseen characters; `<unk>` (which the format
        demands) takes the last id, because id 0 is an ordinary piece here.

        Raises:
            CslmError: the lines do not yield so many pieces, or have more characters than that.
        """
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_writer=model, vocab_size=pieces, model_type="bpe",
                normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
                byte_fallback=True, character_coverage=1.0, hard_vocab_limit=False,
                unk_id=pieces - 1, bos_id=-1, eos_id=-1, pad_id=-1,
                user_defined_symbols=["\n\n", "system", "user", "assistant"], minloglevel=2,
            )  # fmt: skip
        except RuntimeError as error:
            raise CslmError(_why_untrained(pieces, str(error))) from error
        return cls(model.getvalue())


def _why_untrained(pieces: int, said: str) -> str:
    if "sentences_.empty()" in said:
        return "config.corpora hold no text to train the vocabulary on"
    if needed := re.search(r"Vocabulary size is smaller than required_chars\. \d+ vs (\d+)", said):
        return f"config.vocabulary.pieces is {pieces}, but the characters and bytes alone are {needed[1]}; raise it"
    if "pieces_size() - 1" in said:
        return f"config.vocabulary.pieces is {pieces}, more than the text yields; lower it, or add text"
    return f"SentencePiece cannot train {pieces} pieces (config.vocabulary.pieces) on the corpora: {said}"
