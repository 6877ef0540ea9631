"""The joint vocabulary as a seqio.Vocabulary, for whoever uses the tasks through seqio."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import seqio
import tensorflow as tf

from cslm_jax.vocabulary import JointVocabulary


class SeqioVocabulary(seqio.Vocabulary):
    """Reads the vocabulary's directory when it is first needed, so that tasks can be registered before it exists.

    Mixed strings go through `JointVocabulary.encode`: text, units `<12>` and markers in one pass. BOS and EOS are the
    real <|begin_of_text|> and <|eot_id|>. seqio calls id 0 its padding; here it is an ordinary piece, and
    padding is known by its segment id only, which is why seqio's own packing is not used.
    """

    def __init__(self, directory: str):
        super().__init__(extra_ids=0)
        self.directory = directory

    @functools.cached_property
    def joint(self) -> JointVocabulary:
        return JointVocabulary.load(self.directory)

    @property
    def bos_id(self) -> int:
        return self.joint.bos

    @property
    def eos_id(self) -> int:
        return self.joint.eot

    @property
    def unk_id(self) -> None:
        """There is none: bytes stand in for unknown characters."""
        return None

    @property
    def _base_vocab_size(self) -> int:
        return self.joint.size

    # seqio would replace ids beyond the vocabulary by unk and stop at EOS; this one decodes everything.
    def decode(self, ids: Iterable[int]) -> str:
        return self._decode(ids)

    def decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return self._decode_tf(ids)

    def _encode(self, s: str) -> Sequence[int]:
        return self.joint.encode(s)

    def _decode(self, ids: Iterable[int]) -> str:
        return self.joint.decode(list(ids))

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        ids = tf.py_function(lambda text: tf.constant(self._encode(text.numpy().decode()), tf.int32), [s], tf.int32)
        ids.set_shape([None])
        return ids

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        text = tf.py_function(lambda row: self._decode(row.numpy()), [ids], tf.string)
        text.set_shape([])
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeqioVocabulary) and self.joint.sha256 == other.joint.sha256
