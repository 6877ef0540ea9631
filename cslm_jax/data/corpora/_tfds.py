"""Examples of a prepared TFDS dataset one by one, and the sound in them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import soxr
import tensorflow_datasets as tfds
from jaxtyping import Float

from cslm_jax.speech.audio import SAMPLE_RATE

_SKIPPED = 256
"""Examples that are passed over rather than opening the files anew; the processes that load sound take turns of 16."""


class Examples(Sequence):
    """Some features of the examples of a split, in order."""

    def __init__(self, directory: str, split: str, features: tuple[str, ...]):
        self.directory, self.split = directory, split
        self._builder = tfds.builder_from_directory(directory)
        self._decoders = tfds.decode.PartialDecoding({name: True for name in features})
        self.features = features_of(self._builder)
        # A source with random access knows no partial decoding by itself.
        self._partial = self._decoders.extract_features(self._builder.info.features)
        try:
            self._random = self._builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        except NotImplementedError:  # TFRecord cannot be addressed
            self._random = None
        self._ahead: Iterator[Any] | None = None
        self._next = 0

    def __len__(self) -> int:
        return self._builder.info.splits[self.split].num_examples

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        if self._random is not None:
            return self._partial.deserialize_example_np(self._random[i])
        if self._ahead is None or not self._next <= i < self._next + _SKIPPED:
            self._ahead, self._next = self._from(i), i
        while self._next < i:
            next(self._ahead)
            self._next += 1
        self._next += 1
        return next(self._ahead)

    def _from(self, i: int) -> Iterator[Mapping[str, Any]]:
        import tensorflow as tf

        # It would take all memory of a GPU, which the speech tokenizer needs; once it is started it cannot be told any more.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        # One file after the other, so that the order is that of the indices.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        split = f"{self.split}[{i}:]"
        return iter(tfds.as_numpy(self._builder.as_dataset(split, decoders=self._decoders, read_config=config)))


_opened = functools.lru_cache(maxsize=8)(Examples)


def features_of(builder: tfds.core.DatasetBuilder) -> Mapping[str, Any]:
    return dict(builder.info.features.items())


def load(directory: str, split: str, i: int, feature: str) -> Float[np.ndarray, "S"]:
    """The sound of an example as mono samples at 16 kHz."""
    examples = _opened(directory, split, (feature,))
    samples = np.asarray(examples[i][feature])
    mono = scaled(samples).reshape(len(samples), -1).mean(axis=1)
    return soxr.resample(mono, examples.features[feature].sample_rate, SAMPLE_RATE)


def scaled(samples: np.ndarray) -> np.ndarray:
    """As float32 within -1 .. 1. TFDS keeps the integers of the sound files, whose width it does not tell: 16 bits, or 32
    where they do not fit."""
    peak = float(np.abs(samples.astype(np.float64)).max(initial=0.0))
    if np.issubdtype(samples.dtype, np.floating) and peak <= 2:
        return samples.astype(np.float32)
    return (samples / (2**15 if peak <= 2**15 else 2**31)).astype(np.float32)
