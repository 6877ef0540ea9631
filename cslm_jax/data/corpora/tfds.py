"""Any speech dataset of TensorFlow Datasets, by name: `path` is librispeech, ljspeech:1.1.0 or common_voice/en:2.0.0.

It must be prepared (`tfds build`), or be downloaded on the way with the option `download`. Examples are read one by one
when their sound is needed: of a dataset that is prepared as ArrayRecord (`tfds build --file_format=array_record`) at
random, of TFRecord files by reading forward. TFDS brings TensorFlow along, so nothing that trains may import this.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from cslm_jax.data.config import Split
from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected, _tfds
from cslm_jax.errors import BadRecord, CslmError

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
    features = _tfds.features_of(builder)
    for option, feature in (("audio", audio), ("text", text)):
        if feature not in features:
            raise CslmError(f"corpora.{corpus.name}.options.{option}: name one of the features {', '.join(features)}")
    if not getattr(features[audio], "sample_rate", None):
        raise CslmError(f"{corpus.path} does not tell the sample rate of its feature {audio!r}, so its sound cannot be used")
    said = [name for name in (text, speaker) if name in features]
    for split, side in _splits(corpus, builder, splits).items():
        examples = _tfds.Examples(str(builder.data_dir), split, tuple(said))
        for i in range(len(examples)):
            yield _recording(corpus, examples, i, side, audio, text, speaker)


def _recording(
    corpus: CorpusConfig, examples: _tfds.Examples, i: int, side: Split, audio: str, text: str, speaker: str
) -> Recording | Rejected:
    id = f"{examples.split}-{i}"
    try:
        example = examples[i]
        told = _words(example[text], examples.features[text], text)
        by = _words(example[speaker], examples.features[speaker], speaker) if speaker in example else ""
    except BadRecord as error:
        return Rejected(id, examples.directory, error.stage, error.reason)
    sound = functools.partial(_tfds.load, examples.directory, examples.split, i, audio)
    return Recording(id, corpus.language, told, sound, by, side)


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


def _only_audio(corpus: CorpusConfig, builder: tfds.core.DatasetBuilder) -> str:
    found = [name for name, feature in _tfds.features_of(builder).items() if isinstance(feature, tfds.features.Audio)]
    if len(found) != 1:
        raise CslmError(f"{corpus.path} has {len(found)} features with sound; name one in corpora.{corpus.name}.options.audio")
    return found[0]


def _named(builder: tfds.core.DatasetBuilder, names: Sequence[str]) -> str:
    return next((name for name in names if name in _tfds.features_of(builder)), "")


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
