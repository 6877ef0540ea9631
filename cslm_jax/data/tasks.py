"""The tasks in seqio's registry: asr_en, tts_zh, mt_en_zh, text_en, s2s_zh_en ... (catalogue.py has the table).

Each has the features `tokens` (int32) and `loss_weights` (float32), two aligned streams, and `id` beside them: the
very examples that training reads from the token caches.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import seqio
import tensorflow as tf

from cslm_jax.data import catalogue
from cslm_jax.data.catalogue import TaskSpec
from cslm_jax.data.config import DataConfig, Split
from cslm_jax.data.examples import read_examples
from cslm_jax.data.seqio_vocabulary import SeqioVocabulary
from cslm_jax.errors import BadRecord

logger = logging.getLogger(__name__)

# Examples that cross from Python into TensorFlow at once: one by one would take far longer.
_TOGETHER = 256


def register(config: DataConfig) -> None:
    """Registers every task over the config's languages, in place of any registered before."""
    vocabulary = SeqioVocabulary(config.vocabulary)
    for name, spec in catalogue.tasks(config.languages).items():
        seqio.TaskRegistry.remove(name)
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(
                functools.partial(_dataset, spec=spec, config=config, vocabulary=vocabulary),
                splits=("train", "validation"),
            ),
            preprocessors=[],
            output_features={
                "tokens": seqio.Feature(vocabulary, add_eos=False, dtype=tf.int32),
                "loss_weights": seqio.Feature(seqio.PassThroughVocabulary(1), add_eos=False, dtype=tf.float32),
            },
        )


def _dataset(
    split: Split,
    shuffle_files: bool,
    seed: int | None = None,
    *,
    spec: TaskSpec,
    config: DataConfig,
    vocabulary: SeqioVocabulary,
) -> tf.data.Dataset:
    """The examples of a task; the order is that of the records (seqio shuffles behind it if asked to)."""
    del shuffle_files, seed

    def batches() -> Iterator[tuple]:
        source = read_examples(spec, split, config, vocabulary.joint, _log)
        while together := list(itertools.islice(source, _TOGETHER)):
            yield (
                [example.id for example in together],
                np.array([len(example.tokens) for example in together], np.int64),
                np.concatenate([example.tokens for example in together]),
                np.concatenate([example.loss_weights for example in together]),
            )

    signature = tuple(tf.TensorSpec([None], dtype) for dtype in (tf.string, tf.int64, tf.int32, tf.float32))
    return tf.data.Dataset.from_generator(batches, output_signature=signature).map(_ragged).unbatch()


def _log(id: str, file: Path, error: BadRecord) -> None:
    logger.warning("record %s of %s is set aside: %s", id, file, error)


def _ragged(ids: tf.Tensor, lengths: tf.Tensor, tokens: tf.Tensor, weights: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "id": ids,
        "tokens": tf.RaggedTensor.from_row_lengths(tokens, lengths),
        "loss_weights": tf.RaggedTensor.from_row_lengths(weights, lengths),
    }
