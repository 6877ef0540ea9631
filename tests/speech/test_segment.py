"""Stretches of long files: the samples of the whole file, without reading the whole file."""

import numpy as np
import pytest
import soundfile

from cslm_jax.errors import BadRecord
from cslm_jax.speech import audio, segment

FORMATS = {
    "wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve seconds of a gliding tone with noise, in every format."""
    path = tmp_path_factory.mktemp("long")
    time = np.arange(12 * 16000) / 16000
    tone = 0.3 * np.sin(2 * np.pi * (200 + 20 * time) * time) + 0.05 * np.random.default_rng(0).normal(size=len(time))
    for suffix, (container, kind) in FORMATS.items():
        soundfile.write(path / f"long.{suffix}", tone, 16000, format=container, subtype=kind)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_segment_is_that_stretch_of_the_whole_file(folder, suffix):
    """To the sample, wherever it lies; Opus nearly so, for its decoder remembers more than its pre-roll."""
    path = folder / f"long.{suffix}"
    whole = audio.load(path)
    for start in (0.0, 0.05, *np.random.default_rng(1).uniform(0, 11, 40).round(3), 11.0):
        got = segment.load(path, start, start + 1)
        first = round(start * 16000)
        assert got.dtype == np.float32 and len(got) == 16000
        assert np.abs(got - whole[first : first + 16000]).max() < (1e-2 if suffix == "opus" else 1e-6)


def test_another_sample_rate_is_resampled(tmp_path):
    time = np.arange(3 * 44100) / 44100
    stereo = np.stack([np.sin(2 * np.pi * 440 * time), 0 * time], axis=1)
    soundfile.write(tmp_path / "a.flac", stereo, 44100)
    got = segment.load(tmp_path / "a.flac", 1.0, 2.5)
    assert len(got) == 24000
    expected = np.sin(2 * np.pi * 440 * (1 + np.arange(24000) / 16000)) / 2
    np.testing.assert_allclose(got[500:-500], expected[500:-500], atol=2e-3)


def test_the_longest_allowed_is_allowed_wherever_it_lies(tmp_path):
    """At 44.1 kHz and most times, 0.3 s are not a whole number of samples from start to end."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 44100 * 2), 44100)
    for start in np.arange(0, 1.5, 0.017).round(3):
        got = segment.load(tmp_path / "a.wav", start, start + 0.3, max_seconds=0.3)
        audio.check(got, max_seconds=0.3)


def test_neighbours_share_one_opened_file_and_decode_only_themselves(folder, monkeypatch):
    opened, read = [], []

    class Counted(soundfile.SoundFile):
        def __init__(self, path):
            opened.append(path.name)
            super().__init__(path)

        def read(self, frames=-1, **options):
            read.append(frames)
            return super().read(frames, **options)

    monkeypatch.setattr(segment.soundfile, "SoundFile", Counted)
    segment._last_opened.forget()
    for name in ("long.opus", "long.flac"):
        for start in range(5):
            segment.load(folder / name, start, start + 1)
    assert opened == ["long.opus", "long.flac"] and max(read) == 16000 + 1600


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_segment_past_the_end_names_file_and_times(folder, suffix):
    path = folder / f"long.{suffix}"
    assert len(segment.load(path, 11, 12.04)) >= 15999  # times in transcripts are rounded
    for start, end in ((11, 12.2), (20, 21)):
        with pytest.raises(BadRecord, match=f"long.{suffix} from {start} to {end} s ends behind .* at 12.00 s") as caught:
            segment.load(path, start, end)
        assert caught.value.stage == "audio"


@pytest.mark.parametrize(("start", "end"), [(0, 31), (1, 1.05)])
def test_too_long_and_too_short_segments_are_not_decoded(folder, start, end):
    with pytest.raises(BadRecord, match="outside 0.1 to 30.0 s"):
        segment.load(folder / "long.wav", start, end)
    with pytest.raises(BadRecord, match="outside 0.1 to 0.5 s"):
        segment.load(folder / "long.wav", 0, 1, max_seconds=0.5)


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_whole_in_a_truncated_file_is_used(folder, tmp_path, suffix):
    """Hours of speech are not given up for their last minute."""
    content = (folder / f"long.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(BadRecord, match="cut"):
        segment.load(path, 10, 11)
    expected = segment.load(folder / f"long.{suffix}", 2, 3)
    np.testing.assert_allclose(segment.load(path, 2, 3), expected, atol=1e-2)
    with pytest.raises(BadRecord, match="truncated|cannot be read"):
        audio.load(path)


def test_silence_and_what_is_no_sound_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(32000), 16000)
    with pytest.raises(BadRecord, match="a.wav from 0.5 to 1.5 s is silent"):
        segment.load(tmp_path / "a.wav", 0.5, 1.5)
    (tmp_path / "b.opus").write_bytes(b"no sound at all" * 100)
    with pytest.raises(BadRecord, match="b.opus from 0 to 1 s cannot be read"):
        segment.load(tmp_path / "b.opus", 0, 1)
    with pytest.raises(BadRecord, match="nowhere.wav cannot be opened"):
        segment.load(tmp_path / "nowhere.wav", 0, 1)
