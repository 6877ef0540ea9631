"""The voices: reproducible sound, in any order and number of processes, or every unit and cache changes silently."""

import functools
import multiprocessing

import numpy as np
import pytest

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech.espeak import VARIANTS, Voice, any_voice, speak

SENTENCES = {"en": "the red dog sleeps in the garden.", "zh": "红色的狗在花园里睡觉。", "fr": "le chien rouge dort."}


@pytest.mark.parametrize("language", SENTENCES)
def test_speech_is_audible_and_of_plausible_length(language):
    waveform = speak(SENTENCES[language], language, Voice())
    assert waveform.dtype == np.float32 and waveform.ndim == 1
    assert 0.1 < np.abs(waveform).max() <= 1
    assert 0.8 < len(waveform) / 16000 < 5


def test_sample_rates_last_equally_long():
    native, resampled = (speak(SENTENCES["en"], "en", Voice(), rate) for rate in (22050, 16000))
    assert len(native) / 22050 == pytest.approx(len(resampled) / 16000, abs=1e-3)


def speak_elsewhere(text: str, voices: list[Voice]) -> list[np.ndarray]:
    """Speaks in a process of its own, as `cslm prepare` does.

    espeak-ng reads memory that it never set, so among other work it may speak a little differently.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(functools.partial(speak, text, "en"), voices)


def test_every_variant_is_a_pure_function_of_its_arguments():
    """espeak-ng carries state from one utterance to the next; nothing of it may be heard."""
    voices = [Voice(variant) for variant in VARIANTS]
    spoken = speak_elsewhere("the red dog", voices + voices[::-1])
    first, second = spoken[: len(voices)], spoken[: len(voices) - 1 : -1]
    for variant, a, b in zip(VARIANTS, first, second, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=variant)


def test_variants_differ():
    assert len({speak("the red dog", "en", Voice(variant)).tobytes() for variant in VARIANTS}) == len(VARIANTS)


def test_another_process_speaks_alike():
    voices = [Voice("m1"), Voice("f4", 180, 30)]
    for a, b in zip(*(speak_elsewhere(SENTENCES["en"], voices) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_voices_are_many_and_stable():
    voices = [any_voice(f"question-{i}") for i in range(300)]
    assert len(set(voices)) > 280
    assert voices[7] == any_voice("question-7")
    assert {voice.variant for voice in voices} == set(VARIANTS)
    assert [Voice.of_speaker(voice.speaker) for voice in voices] == voices
    assert Voice.of_speaker("plain-165-50") == Voice()


@pytest.mark.parametrize("speaker", ["anna", "f1-fast-50", "f1-20-50"])
def test_a_speaker_that_is_not_written_right_is_named(speaker):
    with pytest.raises(CslmError, match=speaker):
        Voice.of_speaker(speaker)


@pytest.mark.parametrize(
    "text, language, voice, says",
    [
        ("hello", "xx", Voice(), "no voice for the language 'xx'"),
        ("hello", "en", Voice("nobody"), "no variant 'nobody'"),
        ("", "en", Voice(), "nothing to say"),
    ],
)
def test_what_cannot_be_spoken_is_named(text, language, voice, says):
    """A text is one record's fault, a language or a voice that of the config."""
    with pytest.raises(CslmError, match=says) as caught:
        speak(text, language, voice)
    assert isinstance(caught.value, BadRecord) == (text == "")


@pytest.mark.parametrize("field, value", [("words_per_minute", 20), ("pitch", 100)])
def test_impossible_voices_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        Voice(**{field: value})
