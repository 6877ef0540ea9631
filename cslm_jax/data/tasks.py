"""The tasks in seqio's registry: asr_en, tts_zh, mt_en_zh, text_en, s2s_zh_en ... (catalogue.py has the table).

Each has the features `tokens` (int32) and `loss_weights` (float32), two aligned streams, and `id` beside them.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Iterator

import msgpack
import numpy as np
import seqio
import tensorflow as tf

from cslm_jax.data import catalogue, records
from cslm_jax.data.caches import Example
from cslm_jax.data.catalogue import TaskSpec
from cslm_jax.data.config import DataConfig
from cslm_jax.data.examples import examples
from cslm_jax.data.seqio_vocabulary import SeqioVocabulary
from cslm_jax.errors import BadRecord, CslmError

logger = logging.getLogger(__name__)

# Examples that cross from Python into TensorFlow at once: one by one, the crossing would cost more than the encoding.
_TOGETHER = 256


class Report:
    """Hears what happens while examples are made: inside TensorFlow an exception would lose its type."""

    failure: CslmError | None = None
    """What ended the reading, such as a damaged shard."""

    def set_aside(self, id: str, error: BadRecord) -> None:
        """Is told the id of a record that gives no example, and why."""
        logger.warning("record %s is set aside: %s", id, error)


def register(config: DataConfig, report: Report | None = None) -> None:
    """Registers every task over the config's languages, in place of any registered before."""
    vocabulary = SeqioVocabulary(config.vocabulary)
    for name, spec in catalogue.tasks(config.languages).items():
        seqio.TaskRegistry.remove(name)
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(
                functools.partial(_dataset, spec=spec, config=config, vocabulary=vocabulary, report=report or Report()),
                splits=("train", "validation"),
            ),
            preprocessors=[],
            output_features={
                "tokens": seqio.Feature(vocabulary, add_eos=False, dtype=tf.int32),
                "loss_weights": seqio.Feature(seqio.PassThroughVocabulary(1), add_eos=False, dtype=tf.float32),
            },
        )


def _dataset(
    split: str,
    shuffle_files: bool,
    seed: int | None = None,
    *,
    spec: TaskSpec,
    config: DataConfig,
    vocabulary: SeqioVocabulary,
    report: Report,
) -> tf.data.Dataset:
    """The examples of a task; the order is that of the records (seqio shuffles behind it if asked to)."""
    del shuffle_files, seed

    def batches() -> Iterator[tuple]:
        source = _examples(spec, split, config, vocabulary, report)
        while together := list(itertools.islice(source, _TOGETHER)):
            yield (
                [example.id for example in together],
                np.array([len(example.tokens) for example in together], np.int64),
                np.concatenate([example.tokens for example in together]),
                np.concatenate([example.loss_weights for example in together]),
            )

    signature = tuple(tf.TensorSpec([None], dtype) for dtype in (tf.string, tf.int64, tf.int32, tf.float32))
    return tf.data.Dataset.from_generator(batches, output_signature=signature).map(_ragged).unbatch()


def _ragged(ids: tf.Tensor, lengths: tf.Tensor, tokens: tf.Tensor, weights: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "id": ids,
        "tokens": tf.RaggedTensor.from_row_lengths(tokens, lengths),
        "loss_weights": tf.RaggedTensor.from_row_lengths(weights, lengths),
    }


def _examples(
    spec: TaskSpec, split: str, config: DataConfig, vocabulary: SeqioVocabulary, report: Report
) -> Iterator[Example]:
    try:
        for kind in catalogue.READS[spec.family]:
            for content in records.read_bytes(config.records, kind):
                try:
                    record = records.from_bytes(kind, content)
                    if record.split == split:
                        yield from examples(record, spec, config, vocabulary.joint)
                except BadRecord as error:
                    report.set_aside(str(msgpack.unpackb(content).get("id", "without id")), error)
    except CslmError as error:
        report.failure = error
        raise


def read(name: str, split: str) -> Iterator[Example]:
    """The examples of any registered task or mixture, in its order."""
    dataset = seqio.get_mixture_or_task(name).get_dataset(sequence_length=None, split=split, shuffle=False)
    for batch in dataset.ragged_batch(_TOGETHER):
        splits = batch["tokens"].row_splits.numpy()
        tokens, weights = (batch[name].values.numpy() for name in ("tokens", "loss_weights"))
        for id, start, end in zip(batch["id"].numpy(), splits, splits[1:], strict=False):
            yield Example(id.decode(), tokens[start:end], weights[start:end])
