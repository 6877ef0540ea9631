"""Text -> sound, by whichever synthesiser the config names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import soxr
from jaxtyping import Float

from cslm_jax.data.speak import program, server
from cslm_jax.data.speak.cache import Cache
from cslm_jax.data.speak.config import CommandConfig, HttpConfig, TtsConfig
from cslm_jax.data.speak.patience import patience_with
from cslm_jax.data.speak.sound import STAGE, Sound
from cslm_jax.errors import BadRecord
from cslm_jax.speech import audio, espeak


def choose_voice(tts: TtsConfig, key: str) -> str:
    """One of its voices by a stable hash of `key`, so that neither order nor workers matter."""
    if not tts.voices:
        return espeak.any_voice(key).speaker
    draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    return tts.voices[draw % len(tts.voices)]


def say(
    text: str, language: str, voice: str, field: str, tts: TtsConfig, cache: str, failures_in_a_row: int
) -> Float[np.ndarray, "S"]:
    """Mono samples at 16 kHz, from the cache if they were ever made.

    Args:
        field: of the record, for messages.

    Raises:
        BadRecord: the text cannot be said, or the sound cannot be speech.
        TryAgain: the synthesiser failed.
        CslmError: it failed for many texts in a row, or always would.
    """
    try:
        sound = _sound(text, language, voice, tts, Cache(cache), failures_in_a_row)
        audio.check(sound.samples, sound.rate, 0, math.inf)  # how long a recording may be is not decided here
    except BadRecord as error:
        raise type(error)(error.stage, f"field `{field}`: {error.reason}") from error
    return sound.waveform if sound.rate == audio.SAMPLE_RATE else soxr.resample(sound.waveform, sound.rate, audio.SAMPLE_RATE)


def _sound(text: str, language: str, voice: str, tts: TtsConfig, cache: Cache, failures_in_a_row: int) -> Sound:
    if not any(character.isalnum() for character in text):
        raise BadRecord(STAGE, f"there is nothing to say in {text!r}")
    values = {"text": text, "language": language, "voice": voice}
    uploads = server.uploads(tts, values) if isinstance(tts, HttpConfig) else {}
    sent = {field: hashlib.sha256(content).hexdigest() for field, (_, content) in uploads.items()}
    asked = {**tts.identity, **values, "sent": sent}
    sound = cache.find_sound(asked)
    if sound is None:
        with patience_with(_name(tts), failures_in_a_row):
            sound = _synthesise(tts, values, uploads)
            cache.keep_sound(asked, sound)
    return sound


def _synthesise(tts: TtsConfig, values: Mapping[str, str], uploads: server.Uploads) -> Sound:
    match tts:
        case HttpConfig():
            return server.ask(tts, values, uploads)
        case CommandConfig():
            return program.run(tts, values)
    voice, rate = espeak.Voice.of_speaker(values["voice"]), espeak.NATIVE_RATE
    return Sound.of(espeak.speak(values["text"], values["language"], voice, rate), rate, "espeak-ng")


def _name(tts: TtsConfig) -> str:
    match tts:
        case HttpConfig():
            return tts.endpoint.url
        case CommandConfig():
            return f"`{tts.command}`"
    return "espeak-ng"
