"""Protects the way from a mel back to sound."""

import warnings

import librosa
import numpy as np
import pytest
import scipy.optimize

from cslm_jax.speech import audio
from cslm_jax.speech.griffin_lim import GriffinLimConfig, griffin_lim, linear_spectrum

FILTERS = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmax=8000)


def speechlike(seconds=1.0):
    """A gliding harmonic tone with pauses and a little noise."""
    t = np.arange(int(22050 * seconds)) / 22050
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.5 * t)) / 22050
    tone = sum(np.sin(k * phase) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 3 * t) > -0.5)
    return (0.1 * tone + 1e-3 * np.random.default_rng(0).standard_normal(len(t))).astype(np.float32)


def test_inversion_is_as_close_as_non_negative_least_squares():
    spectrum = np.abs(librosa.stft(speechlike(0.3), n_fft=1024, hop_length=256))
    mel = FILTERS @ spectrum
    found = np.asarray(linear_spectrum(mel, 20))
    exact = np.stack([scipy.optimize.nnls(FILTERS.astype(float), frame)[0] for frame in mel.T], axis=1)
    error = lambda s: np.linalg.norm(s - spectrum) / np.linalg.norm(spectrum)
    assert found.min() >= 0
    assert np.linalg.norm(FILTERS @ found - mel) < 0.02 * np.linalg.norm(mel)
    assert error(found) < error(exact)


def test_the_sound_has_the_mel_that_was_asked_for():
    mel = np.asarray(audio.vocoder_mel(speechlike()))
    sound = griffin_lim(mel, GriffinLimConfig())
    assert sound.dtype == np.float32 and len(sound) == 256 * len(mel) and np.abs(sound).max() <= 1
    again = np.asarray(audio.vocoder_mel(sound))
    loud = mel > mel.max() - 6
    assert np.abs(again - mel)[loud].mean() < 0.25


def test_frames_stay_where_they_were():
    """A click in the middle of frame 40 comes back there, not half a window off."""
    waveform = np.zeros(80 * 256, np.float32)
    waveform[40 * 256 + 128] = 0.9
    sound = griffin_lim(np.asarray(audio.vocoder_mel(waveform)), GriffinLimConfig())
    centre = np.sum(np.arange(len(sound)) * sound**2) / np.sum(sound**2)
    assert abs(centre - (40 * 256 + 128)) < 64


def test_more_iterations_come_closer():
    mel = np.asarray(audio.vocoder_mel(speechlike()))
    distance = lambda steps: np.abs(
        np.asarray(audio.vocoder_mel(griffin_lim(mel, GriffinLimConfig(phase_steps=steps)))) - mel
    ).mean()
    assert distance(32) < distance(2)


def test_it_is_deterministic_and_survives_nothing_and_silence():
    mel = np.asarray(audio.vocoder_mel(speechlike(0.2)))
    assert np.array_equal(griffin_lim(mel, GriffinLimConfig()), griffin_lim(mel, GriffinLimConfig()))
    assert griffin_lim(mel[:0], GriffinLimConfig()).shape == (0,)
    silence = griffin_lim(np.full((30, 80), np.log(1e-5), np.float32), GriffinLimConfig())
    assert np.all(np.isfinite(silence)) and np.abs(silence).max() < 1e-3
    with warnings.catch_warnings(action="error", category=UserWarning):
        assert len(griffin_lim(mel[:1], GriffinLimConfig())) == 256


def test_no_phase_steps_is_an_error():
    with pytest.raises(ValueError, match="phase_steps"):
        GriffinLimConfig(phase_steps=0)
