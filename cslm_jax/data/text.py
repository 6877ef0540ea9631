"""`cslm vocabulary`: the text pieces, trained on what the corpora say, and the joint vocabulary around them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import get_args

from cslm_jax.config import Experiment
from cslm_jax.data import corpora, prompts
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig, Rejected
from cslm_jax.text import TextPart
from cslm_jax.text.llama3 import Llama3Text
from cslm_jax.text.sentencepiece import SentencePieceText
from cslm_jax.vocabulary import JointVocabulary

INSTRUCTION_USES = 50
"""How often each instruction counts beside the sentences of the corpora."""


def make_vocabulary(config: Experiment) -> None:
    """Writes the joint vocabulary around a published text part, or around one trained on the training side of the corpora."""
    vocabulary = JointVocabulary(_text_part(config), config.tokenizer.model.codes, config.vocabulary.pad_to)
    vocabulary.save(config.data.vocabulary)
    print(f"{config.data.vocabulary}: {vocabulary.base_size} text ids, {vocabulary.codes} units, {vocabulary.size} rows in all")


def _text_part(config: Experiment) -> TextPart:
    if config.vocabulary.text is not None:
        return Llama3Text.read(config.vocabulary.text)
    return SentencePieceText.train([*_instructions(config.data), *training_texts(config.corpora)], config.vocabulary.pieces)


def training_texts(chosen: Sequence[CorpusConfig]) -> Iterator[str]:
    for corpus in chosen:
        for item in corpora.read(corpus):
            if not isinstance(item, Rejected) and item.split == "train":
                yield from corpora.texts(item)


def _instructions(config: DataConfig) -> Iterator[str]:
    """Every wording of every instruction, as often as if each were used that often, so that instructions cost few tokens."""
    known = prompts.load(config.language_files)
    for source, target in itertools.product(config.languages, repeat=2):
        for task in get_args(prompts.Task):
            for instruction in known.wordings(task, source, target):
                yield from ["".join(instruction.turn(""))] * INSTRUCTION_USES
