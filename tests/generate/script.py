"""A stand-in for the LM that says what a test tells it to."""

import numpy as np

from cslm_jax import chat
from cslm_jax.chat import Message

PIECES = [("the red fox ", np.array([1, 2, 3])), ("is in the garden.", np.array([4, 5]))]


class Script:
    """A generator that says what it is told to, and knows how far it has been read."""

    def __init__(self, vocabulary, tokens):
        self.vocabulary, self.tokens, self.read = vocabulary, np.asarray(tokens, np.int32), 0

    def blocks(self, prompts, sampling, block):
        for start in range(0, len(self.tokens), block):
            self.read = start + block
            part = self.tokens[start : start + block]
            yield np.pad(part, (0, block - len(part)), constant_values=self.vocabulary.eot)[None]


def answer(vocabulary, form="interleaved"):
    content = chat.response("where is the fox?", PIECES, form, vocabulary)
    header = len(chat.prompt([], vocabulary))
    return chat.encode([Message("assistant", content)], vocabulary).tokens[header:]
