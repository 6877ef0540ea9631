"""Sound in, spectrogram out: every unit of the system stands on these numbers."""

import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import soundfile

from cslm_jax.errors import BadRecord
from cslm_jax.speech import audio


@pytest.fixture
def waveform():
    """Two seconds of a gliding tone with noise at 16 kHz."""
    time = np.arange(32000) / 16000
    noise = np.random.default_rng(0).normal(size=32000)
    return (0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time) + 0.02 * noise).astype(np.float32)


def librosa_log_mel(waveform, mels):
    power = np.abs(librosa.stft(waveform, n_fft=400, hop_length=160, window="hann", pad_mode="reflect"))[:, :-1] ** 2
    log_power = np.log10(np.maximum(librosa.filters.mel(sr=16000, n_fft=400, n_mels=mels) @ power, 1e-10))
    return ((np.maximum(log_power, log_power.max() - 8) + 4) / 4).T


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [32000, 31999, 16123])
def test_log_mel_is_librosas(waveform, mels, samples):
    ours = audio.log_mel(waveform[:samples], mels)
    assert ours.shape == (samples // 160, mels)
    np.testing.assert_allclose(ours, librosa_log_mel(waveform[:samples], mels)[: samples // 160], atol=2e-4)


def test_log_mel_of_a_padded_batch_is_that_of_each_row(waveform):
    rows = [waveform, 0.01 * waveform[:8000], waveform[5000:21111]]
    padded, lengths = audio.pad_waveforms(rows, 256)
    batch = audio.log_mel_batch(padded, lengths)
    for row, length, got in zip(rows, lengths, batch):
        np.testing.assert_allclose(got[:length], audio.log_mel(row), atol=1e-5)
        assert not np.any(got[length:])


def test_vocoder_mel_is_librosas(waveform):
    edge = (1024 - 256) // 2
    stft = librosa.stft(np.pad(waveform, edge, mode="reflect"), n_fft=1024, hop_length=256, center=False)
    reference = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmax=8000) @ np.abs(stft)
    reference = np.log(np.maximum(reference, 1e-5)).T
    ours = audio.vocoder_mel(jnp.asarray(np.stack([waveform, -waveform])))
    assert ours.shape == (2, len(waveform) // 256, 80)
    for row in ours:
        np.testing.assert_allclose(row, reference, atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_and_any_number_of_channels_load(tmp_path, rate, channels):
    time = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([tone] * channels, axis=1), rate)
    loaded = audio.load(tmp_path / "a.wav")
    assert loaded.dtype == np.float32 and loaded.shape == (16000,)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(loaded[2000:-2000], expected[2000:-2000], atol=2e-3)


def test_stereo_is_averaged(tmp_path, waveform):
    soundfile.write(tmp_path / "a.wav", np.stack([waveform, np.zeros_like(waveform)], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(tmp_path / "a.wav"), waveform / 2, atol=1e-6)


BAD = {
    "empty": (lambda w: w[:0], "is empty"),
    "zeros": (lambda w: 0 * w, "is silent"),
    "nan": (lambda w: np.where(np.arange(len(w)) == 99, np.nan, w), "NaN"),
    "short": (lambda w: w[:200], "lasts 0.01 s"),
    "long": (lambda w: np.tile(w, 20), "lasts 40.00 s"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_samples_are_refused_with_the_file_and_the_reason(tmp_path, waveform, kind):
    change, reason = BAD[kind]
    soundfile.write(tmp_path / "bad.wav", change(waveform), 16000, subtype="FLOAT")
    with pytest.raises(BadRecord, match=reason) as caught:
        audio.load(tmp_path / "bad.wav")
    assert caught.value.stage == "audio" and "bad.wav" in caught.value.reason


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, waveform, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, waveform, 16000)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadRecord, match="truncated|cannot be read"):
        audio.load(path)


def test_a_file_that_is_too_long_is_not_decoded(tmp_path, waveform, monkeypatch):
    soundfile.write(tmp_path / "long.flac", np.tile(waveform, 20), 16000)
    read, asked = soundfile.SoundFile.read, []

    def counted(file, frames=-1, **options):
        asked.append(frames)
        return read(file, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    with pytest.raises(BadRecord, match="long.flac lasts 40.00 s, outside 0.1 to 30.0 s"):
        audio.load(tmp_path / "long.flac")
    assert asked == [0]


@pytest.mark.parametrize("promised", [0xFFFFFFFF, 0x7FFFF024, 0x80000024])
def test_a_wav_from_a_pipe_loads(tmp_path, waveform, promised):
    """Its header was written before anybody knew its length, so the sizes in it are about the largest that there are."""
    soundfile.write(tmp_path / "a.wav", waveform, 16000)
    whole = audio.load(tmp_path / "a.wav")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = promised.to_bytes(4, "little")
    content[40:44] = (promised - 36 if promised != 0xFFFFFFFF else promised).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(audio.load(tmp_path / "a.wav"), whole)


@pytest.mark.parametrize("content", [b"", b"not a sound at all" * 100, b"RIFF", b"RIFF\x10\x00\x00\x00WAVEgarbage!"])
def test_what_is_no_sound_is_refused(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(BadRecord, match="a.wav"):
        audio.load(tmp_path / "a.wav")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadRecord, match="nowhere.wav cannot be opened"):
        audio.load(tmp_path / "nowhere.wav")


def test_real_recordings_load(shared_data):
    files = sorted((shared_data / "real_speech").rglob("*.wav"))
    assert len(files) > 20
    for path in files:
        audio.check(audio.load(path))
    assert audio.log_mel(audio.load(files[-1])).shape[1] == 128
