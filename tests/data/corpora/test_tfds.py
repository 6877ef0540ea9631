"""TFDS datasets, built here in both file formats: the order, the sound in other processes, and features by name."""

import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, _tfds
from cslm_jax.errors import CslmError

EXAMPLES = 40


class TinySpeech(tfds.core.GeneratorBasedBuilder):
    """The sound of each example tells which one it is, and so does its text."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "audio": tfds.features.Audio(sample_rate=8000),
            "text": tfds.features.Text(),
            "speaker_id": np.int64,
            "accent": tfds.features.ClassLabel(names=["northern", "southern"]),
            "length": np.int64,
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _):
        return {"train": self._generate_examples(0, EXAMPLES), "test": self._generate_examples(EXAMPLES, EXAMPLES + 3)}

    def _generate_examples(self, start, end):
        for i in range(start, end):
            samples = np.full(4000, 100 + 200 * i, np.int64)
            yield i, {"audio": samples, "text": f"number {i} ", "speaker_id": i % 3, "accent": i % 2, "length": 4000}


@pytest.fixture(scope="module", params=["array_record", "tfrecord"])
def data_dir(request, tmp_path_factory) -> str:
    directory = str(tmp_path_factory.mktemp(request.param))
    # Several files: the order must be that of the examples, and not files in turn.
    config = tfds.download.DownloadConfig(num_shards=3)
    TinySpeech(data_dir=directory, file_format=request.param).download_and_prepare(download_config=config)
    return directory


def read(data_dir, path="tiny_speech", **options) -> list:
    return list(corpora.read(CorpusConfig("c", "tfds", path, options={"data_dir": data_dir, **options})))


def number(recording) -> int:
    return int(recording.text.removeprefix("number "))


def heard(recording) -> int:
    """Which example a sound belongs to. Loaded from a copy, as a process that loads sound has one."""
    waveform = pickle.loads(pickle.dumps(recording)).load()
    assert waveform.dtype == np.float32 and len(waveform) == 8000
    return round((float(np.median(waveform)) * 2**15 - 100) / 200)


def test_every_example_has_its_own_text_and_sound(data_dir):
    items = read(data_dir, path="tiny_speech:1.0.0")
    assert [item.id for item in items] == [*(f"train-{i}" for i in range(EXAMPLES)), *(f"test-{i}" for i in range(3))]
    assert sorted(map(number, items)) == list(range(EXAMPLES + 3))
    assert [item.split for item in items] == ["train"] * EXAMPLES + ["validation"] * 3
    assert [heard(item) for item in items] == list(map(number, items))


def test_sound_is_found_in_any_order(data_dir):
    items = read(data_dir, splits={"train": "train"})
    for item in [items[30], items[2], items[3], items[39], items[0]]:
        assert heard(item) == number(item)


def test_the_order_never_changes(data_dir):
    assert list(map(number, read(data_dir))) == list(map(number, read(data_dir)))


def test_features_and_splits_by_name(data_dir):
    items = read(data_dir, splits={"test": "train"}, text="accent", speaker="speaker_id")
    assert len(items) == 3 and {item.split for item in items} == {"train"}
    assert {item.text for item in items} == {"northern", "southern"} and {item.speaker for item in items} == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "no_such_dataset"}, "TFDS has no 'no_such_dataset'"),
        ({"splits": {"dev": "train"}}, r"has no \['dev'\], but train, test"),
        ({"text": "words"}, "options.text: name one of the features audio"),
        ({"audio": "sound"}, "options.audio: name one of the features audio"),
        ({"audio": "length"}, "does not tell the sample rate"),
    ],
)
def test_what_is_not_there_is_named(data_dir, options, says):
    with pytest.raises(CslmError, match=says):
        read(data_dir, **options)


def test_a_dataset_that_is_not_prepared(tmp_path):
    with pytest.raises(CslmError, match="tfds build tiny_speech"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([2**14, -(2**15)], np.int64), [0.5, -1.0]),
        (np.array([2**30, -100], np.int64), [0.5, -100 / 2**31]),
        (np.array([0.25, -1.0], np.float32), [0.25, -1.0]),
        (np.array([2**14, 0], np.float32), [0.5, 0.0]),
        (np.zeros(0, np.int64), []),
    ],
)
def test_samples_of_any_width_are_within_one(samples, expected):
    """TFDS keeps the numbers of the sound files, and does not tell how wide they are."""
    scaled = _tfds.scaled(samples)
    assert scaled.dtype == np.float32 and scaled.tolist() == pytest.approx(expected)
