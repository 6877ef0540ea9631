"""Any speech dataset of TensorFlow Datasets, by name: `path` is librispeech, ljspeech:1.1.0 or common_voice/en:2.0.0.

It must be prepared (`tfds build`), or be downloaded on the way with the option `download`. Examples are read one by one
when their sound is needed: of a dataset that is prepared as ArrayRecord (`tfds build --file_format=array_record`) at
random, of TFRecord files by reading forward. TFDS brings TensorFlow along, so nothing that trains may import this.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import soxr
import tensorflow_datasets as tfds
from jaxtyping import Float

from cslm_jax.data.config import Split
from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech.audio import SAMPLE_RATE

_TEXTS = ("text_normalized", "text", "transcript", "transcription", "sentence", "label")
_SPEAKERS = ("speaker_id", "speaker", "client_id")


def read(
    corpus: CorpusConfig,
    *,
    data_dir: str | None = None,
    splits: Mapping[str, Split] = {},
    audio: str = "",
    text: str = "",
    speaker: str = "",
    download: bool = False,
) -> Iterator[Item]:
    """The examples of all splits as recordings, in the order of the dataset.

    Args:
        data_dir: where datasets are prepared; by default TFDS's own folder.
        splits: which side each split is for that is read; by default, those named train... are for training and the
            others are held out.
        audio: name of the feature with the sound; by default the only one of type Audio.
        text: name of the feature with the text or its class label; by default one that is named like a transcript.
        speaker: name of the feature with the speaker; by default one that is named so, if there is one.
        download: fetch and prepare a dataset that is not there.

    Raises:
        CslmError: no such dataset, split or feature; or it is not prepared.
    """
    builder = _builder(corpus, data_dir, download)
    audio = audio or _only_audio(corpus, builder)
    text = text or _named(builder, _TEXTS)
    speaker = speaker or _named(builder, _SPEAKERS)
    features = _features(builder)
    for option, feature in (("audio", audio), ("text", text)):
        if feature not in features:
            raise CslmError(f"corpora.{corpus.name}.options.{option}: name one of the features {', '.join(features)}")
    if not getattr(features[audio], "sample_rate", None):
        raise CslmError(f"{corpus.path} does not tell the sample rate of its feature {audio!r}, so its sound cannot be used")
    said = [name for name in (text, speaker) if name in features]
    for split, side in _splits(corpus, builder, splits).items():
        examples = _Examples(str(builder.data_dir), split, tuple(said))
        for i in range(len(examples)):
            yield _recording(corpus, examples, i, side, audio, text, speaker)


def _recording(
    corpus: CorpusConfig, examples: _Examples, i: int, side: Split, audio: str, text: str, speaker: str
) -> Recording | Rejected:
    id = f"{examples.split}-{i}"
    try:
        example = examples[i]
        told = _words(example[text], examples.features[text], text)
        by = _words(example[speaker], examples.features[speaker], speaker) if speaker in example else ""
    except BadRecord as error:
        return Rejected(id, examples.directory, error.stage, error.reason)
    sound = functools.partial(load, examples.directory, examples.split, i, audio)
    return Recording(id, corpus.language, told, sound, by, side)


def load(directory: str, split: str, i: int, feature: str) -> Float[np.ndarray, "S"]:
    """The sound of an example as mono samples at 16 kHz."""
    examples = _opened(directory, split, (feature,))
    samples = np.asarray(examples[i][feature])
    mono = _scaled(samples).reshape(len(samples), -1).mean(axis=1)
    return soxr.resample(mono, examples.features[feature].sample_rate, SAMPLE_RATE)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """As float32 within -1 .. 1. TFDS keeps the integers of the sound files, whose width it does not tell: 16 bits, or 32
    where they do not fit."""
    peak = float(np.abs(samples.astype(np.float64)).max(initial=0.0))
    if np.issubdtype(samples.dtype, np.floating) and peak <= 2:
        return samples.astype(np.float32)
    return (samples / (2**15 if peak <= 2**15 else 2**31)).astype(np.float32)


class _Examples(Sequence):
    """Some features of the examples of a split, in order."""

    def __init__(self, directory: str, split: str, features: tuple[str, ...]):
        self.directory, self.split = directory, split
        self._builder = tfds.builder_from_directory(directory)
        self._decoders = tfds.decode.PartialDecoding({name: True for name in features})
        self.features = _features(self._builder)
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

        # It would take all memory of a GPU, which the speech tokenizer needs.
        tf.config.set_visible_devices([], "GPU")
        # One file after the other, so that the order is that of the indices.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        split = f"{self.split}[{i}:]"
        return iter(tfds.as_numpy(self._builder.as_dataset(split, decoders=self._decoders, read_config=config)))


_SKIPPED = 256
"""Examples that are passed over rather than opening the files anew; the processes that load sound take turns of 16."""

_opened = functools.lru_cache(maxsize=8)(_Examples)


def _builder(corpus: CorpusConfig, data_dir: str | None, download: bool) -> tfds.core.DatasetBuilder:
    try:
        builder = tfds.builder(corpus.path, data_dir=data_dir)
    except (ValueError, AssertionError, tfds.core.DatasetNotFoundError) as error:
        raise CslmError(
            f"corpora.{corpus.name}.path: TFDS has no {corpus.path!r} ({str(error).strip().splitlines()[0]})"
        ) from error
    if download:
        builder.download_and_prepare()
    if not builder.info.splits:
        raise CslmError(
            f"corpora.{corpus.name}: {corpus.path} is not prepared in {builder.data_dir}; run `tfds build {corpus.path}`, "
            "or set options.download"
        )
    return builder


def _features(builder: tfds.core.DatasetBuilder) -> Mapping[str, Any]:
    return dict(builder.info.features.items())


def _only_audio(corpus: CorpusConfig, builder: tfds.core.DatasetBuilder) -> str:
    found = [name for name, feature in _features(builder).items() if isinstance(feature, tfds.features.Audio)]
    if len(found) != 1:
        raise CslmError(f"{corpus.path} has {len(found)} features with sound; name one in corpora.{corpus.name}.options.audio")
    return found[0]


def _named(builder: tfds.core.DatasetBuilder, names: Sequence[str]) -> str:
    return next((name for name in names if name in _features(builder)), "")


def _splits(corpus: CorpusConfig, builder: tfds.core.DatasetBuilder, chosen: Mapping[str, Split]) -> Mapping[str, Split]:
    known = list(builder.info.splits)
    if unknown := set(chosen) - set(known):
        raise CslmError(f"corpora.{corpus.name}.options.splits: {corpus.path} has no {sorted(unknown)}, but {', '.join(known)}")
    return chosen or {name: "train" if name.startswith("train") else "validation" for name in known}


def _words(value: Any, feature: Any, name: str) -> str:
    if isinstance(feature, tfds.features.ClassLabel):
        return feature.int2str(int(value))
    try:
        return value.decode("utf-8").strip() if isinstance(value, bytes) else str(value).strip()
    except UnicodeDecodeError as error:
        raise BadRecord("text", f"field `{name}` is not UTF-8: {error}") from None
