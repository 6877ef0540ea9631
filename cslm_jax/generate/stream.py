"""Answering while speaking: a piece of an answer is handed out as soon as its `<eosp>` is there (paper section 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from cslm_jax.chat import ResponseParser, ResponsePiece
from cslm_jax.generate.sampling import Generator, SamplingConfig

BLOCK = 16
"""Tokens between two looks at the stream: less than a second of speech."""


@dataclasses.dataclass(frozen=True)
class Heard:
    """TQ: the question as the model understood it."""

    text: str


@dataclasses.dataclass(frozen=True)
class Finished:
    """The end of the answer."""

    tokens: int
    """Generated, the end of turn left out."""
    complaints: tuple[str, ...]
    """What was malformed, in words."""


def stream(
    generator: Generator, prompt: Int[np.ndarray, "T"], sampling: SamplingConfig, block: int = BLOCK
) -> Iterator[Heard | ResponsePiece | Finished]:
    """One answer: its TQ, its pieces, its end; the LM goes on while the caller speaks a piece.

    Args:
        prompt: token ids that end where the answer begins (`chat.prompt`).
        block: tokens that are generated between two looks at them.
    """
    parser = ResponseParser(generator.vocabulary)
    heard, count = None, 0
    for token in _tokens(generator, prompt, sampling, block):
        count += 1
        piece = parser.feed(token)
        if parser.question != heard:
            heard = parser.question
            yield Heard(heard)
        if piece is not None:
            yield piece
    last = parser.feed(generator.vocabulary.eot)
    if parser.question != heard:
        yield Heard(parser.question)
    if last is not None:
        yield last
    yield Finished(count, tuple(dict.fromkeys(parser.complaints)))


def _tokens(generator: Generator, prompt: Int[np.ndarray, "T"], sampling: SamplingConfig, block: int) -> Iterator[int]:
    """The answer token by token, up to its end of turn."""
    for tokens in generator.blocks([prompt], sampling, block):
        for token in tokens[0].tolist():
            if token == generator.vocabulary.eot:
                return
            yield token
