"""Sound that cannot be what its corpus says: set aside with file, stage and reason, and everything else goes on."""

import json
import struct

import numpy as np
import published_layouts as layouts
import pytest
import soundfile

from cslm_jax.data import corpora
from cslm_jax.data.corpora import CorpusConfig, Recording, Segment
from cslm_jax.data.recording import load_here
from cslm_jax.errors import BadRecord

GARBAGE = np.random.default_rng(0).bytes(400)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def garbage_inside(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + GARBAGE + content[middle + len(GARBAGE) :]


def lying_rate(content: bytes) -> bytes:
    """16 kHz samples that a consistent header calls 96 kHz."""
    return content[:24] + struct.pack("<II", 96000, 192000) + content[32:]


DAMAGE = [
    *((suffix, change) for suffix in ("flac", "mp3", "opus", "ogg") for change in (half, garbage_inside)),
    ("wav", half),
    ("wav", lying_rate),
    *((suffix, lambda _: b"") for suffix in ("wav", "flac", "mp3", "opus")),
    *((suffix, lambda _: GARBAGE * 9) for suffix in ("wav", "flac", "mp3", "opus")),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Sound or BadRecord, by id, of a manifest with one recording of every kind of damage among good ones."""
    folder = tmp_path_factory.mktemp("damaged")
    rows = []
    for i, (suffix, change) in enumerate(DAMAGE):
        layouts.sound(folder / f"good{i}.{suffix}", 2.0)
        (folder / f"bad{i}.{suffix}").write_bytes(change((folder / f"good{i}.{suffix}").read_bytes()))
        rows += [(f"bad{i}.{suffix}", "a dozen red dogs ran away"), (f"good{i}.{suffix}", "a dozen red dogs ran away")]
    lines = "".join(json.dumps({"file": file, "text": text}) + "\n" for file, text in rows)
    (folder / "manifest.jsonl").write_text(lines)
    items = list(corpora.read(CorpusConfig("c", "manifest", str(folder))))
    return {item.id: sound for item, sound in zip(items, load_here(items), strict=True)}


@pytest.mark.parametrize("i", range(len(DAMAGE)))
def test_damage_is_noticed_and_the_file_beside_it_is_used(loaded, i):
    suffix, change = DAMAGE[i]
    bad, good = loaded[f"bad{i}.{suffix}"], loaded[f"good{i}.{suffix}"]
    assert len(good) == pytest.approx(32000, abs=1200)
    assert isinstance(bad, BadRecord) and bad.stage == "audio"
    if change is lying_rate:
        assert "20 characters in 0.33 s are 60 a second" in bad.reason and "sample rate in the header" in bad.reason
    else:
        assert f"bad{i}.{suffix}" in bad.reason
        assert any(word in bad.reason for word in ("truncated", "damaged", "cannot be read"))


def test_the_longest_recording_is_a_field(tmp_path):
    """Of whole files and of segments alike."""
    layouts.sound(tmp_path / "a.wav", 40.0)
    text = "one of many words " * 8
    long = [Recording("a", "en", text, tmp_path / "a.wav"), Recording("b", "en", text, Segment(tmp_path / "a.wav", 1, 36))]
    assert all(isinstance(sound, BadRecord) for sound in load_here(long))
    assert [len(sound) / 16000 for sound in load_here(long, max_seconds=60)] == [40, 35]


def test_real_recordings_go_through(shared_data):
    """Every natural recording beside the checkout, with what is said in it: 8, 16 and 22.05 kHz, English and Chinese."""
    speech = shared_data / "real_speech"
    tables = (speech / "en_digits/transcripts.tsv", speech / "zh_questions/transcripts.tsv")
    items = [item for table in tables for item in corpora.read(CorpusConfig("real", "manifest", str(table)))]
    assert len(items) == 40 + 25
    items += [Recording(path.name, "zh", "甚至出现交易几乎停滞的情况", path) for path in speech.glob("zh_aishell/*.wav")]
    rates = {soundfile.info(item.file).samplerate for item in items}
    assert rates == {8000, 16000, 22050}
    for item, sound in zip(items, load_here(items), strict=True):
        assert not isinstance(sound, BadRecord), (item.id, sound)
        assert soundfile.info(item.file).duration == pytest.approx(len(sound) / 16000, abs=0.01)
