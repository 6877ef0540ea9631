"""InstructS2S-Eval (LLaMA-Omni): spoken English questions without answers, from AlpacaEval's helpful_base and vicuna.

Below the path lie a JSON array, as LLaMA-Omni 2 publishes it, and the sound files that it names relative to itself or to
its parent folder:

    {"id": "helpful_base_0", "conversation": [{"from": "human", "text": "...", "speech": "examples/wav/helpful_base_0.wav"}]}

or AlpacaEval's own file of texts, whose questions have a reference answer: {"dataset", "instruction", "output"}.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording, WrittenDialogue, _rows
from cslm_jax.errors import BadRecord


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = ("helpful_base", "vicuna")) -> Iterator[Item]:
    """The questions, all held out: recordings, or (AlpacaEval's) dialogues that are to be spoken.

    Args:
        subsets: of AlpacaEval. The published 199 questions are these two without mathematics and code.

    Raises:
        CslmError: no such file, or a truncated one.
    """
    return _rows.items(_rows.read(corpus), functools.partial(_made, corpus, tuple(subsets)))


def _made(corpus: CorpusConfig, subsets: tuple[str, ...], row: _rows.Row) -> Iterator[Item]:
    if "instruction" in row.fields:
        if row.fields.get("dataset") in subsets:
            question, answer = ({corpus.language: row.text(field)} for field in ("instruction", "output"))
            yield WrittenDialogue(row.id, question, answer, "validation")
        return
    match row.fields:
        case {"id": str(id), "conversation": [{"text": str(text), "speech": str(speech)}, *_]} if text.strip():
            yield Recording(id, corpus.language, text.strip(), _beside(row.file, speech), split="validation")
        case {"speech": str(), "conversations": _}:
            raise BadRecord(
                "text", "this is the form of LLaMA-Omni 1, which does not tell what is asked; take that of LLaMA-Omni 2"
            )
        case _:
            raise BadRecord("text", "field `conversation` needs a first turn with `text` and `speech`, beside the field `id`")


def _beside(file: Path, speech: str) -> Path:
    """The published paths are those of the repository, whose folder `examples` holds the JSON."""
    near = file.parent / speech
    return near if near.exists() else file.parent.parent / speech
