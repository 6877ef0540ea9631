"""Text -> sound, by whichever synthesiser the config names."""

from __future__ import annotations

import functools
import hashlib
import io
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from cslm_jax.data.speak import endpoint
from cslm_jax.data.speak.cache import Cache, Sound
from cslm_jax.data.speak.config import CommandConfig, EspeakConfig, HttpConfig, TtsConfig
from cslm_jax.data.speak.patience import patience_with
from cslm_jax.data.speak.template import fill
from cslm_jax.errors import BadRecord, CslmError, TryAgain
from cslm_jax.speech import audio, espeak

_STAGE = "tts"


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
        audio.check(sound.samples, sound.rate)
    except BadRecord as error:
        raise type(error)(error.stage, f"field `{field}`: {error.reason}") from error
    return sound.waveform if sound.rate == audio.SAMPLE_RATE else soxr.resample(sound.waveform, sound.rate, audio.SAMPLE_RATE)


def _sound(text: str, language: str, voice: str, tts: TtsConfig, cache: Cache, failures_in_a_row: int) -> Sound:
    if not any(character.isalnum() for character in text):
        raise BadRecord(_STAGE, f"there is nothing to say in {text!r}")
    values = {"text": text, "language": language, "voice": voice}
    uploads = _uploads(tts, values)
    sent = {name: hashlib.sha256(content).hexdigest() for name, (_, content) in uploads.items()}
    asked = {**tts.identity, **values, "sent": sent}
    sound = cache.find_sound(asked)
    if sound is None:
        with patience_with(_name(tts), failures_in_a_row):
            sound = _synthesise(tts, values, uploads)
            cache.keep_sound(asked, sound)
    return sound


def _name(tts: TtsConfig) -> str:
    match tts:
        case HttpConfig():
            return tts.endpoint.url
        case CommandConfig():
            return f"`{tts.command}`"
    return "espeak-ng"


def _synthesise(tts: TtsConfig, values: Mapping[str, str], uploads: Mapping[str, tuple[str, bytes]]) -> Sound:
    match tts:
        case HttpConfig():
            waveform, rate = _ask(tts, values, uploads)
        case CommandConfig():
            waveform, rate = _run(tts, values)
        case EspeakConfig():
            voice, rate = espeak.Voice.of_speaker(values["voice"]), espeak.NATIVE_RATE
            waveform = espeak.speak(values["text"], values["language"], voice, rate)
    # NaN and nothing at all cannot be kept; all else is told when the sound is used.
    if not len(waveform) or not np.all(np.isfinite(waveform)):
        what = "has samples that are NaN or infinite" if len(waveform) else "is empty"
        raise BadRecord(_STAGE, f"the sound from {_name(tts)} {what}")
    return Sound.of(waveform, rate)


# A server ------------------------------------------------------------------------------------------


def _uploads(tts: TtsConfig, values: Mapping[str, str]) -> dict[str, tuple[str, bytes]]:
    if not isinstance(tts, HttpConfig):
        return {}
    paths = {name: Path(fill(path, values)) for name, path in tts.files.items()}
    return {name: (path.name, _content(path)) for name, path in paths.items()}


@functools.lru_cache(256)
def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CslmError(f"{path}, which is to be sent to the synthesiser, cannot be read ({error.strerror})") from error


def _ask(tts: HttpConfig, values: Mapping[str, str], uploads: Mapping[str, tuple[str, bytes]]) -> tuple[np.ndarray, int]:
    request: dict[str, Any] = {}
    if tts.body:
        request["json"] = fill(tts.body, values)
    elif tts.form or uploads:
        request["fields"] = {**fill(tts.form, values), **uploads}
    if "fields" in request and tts.method != "GET":
        request["encode_multipart"] = bool(uploads)
    answer = endpoint.ask(tts.endpoint, _STAGE, method=tts.method, **request)
    kind = answer.headers.get("Content-Type", "")
    if not answer.data:
        raise TryAgain(_STAGE, f"{tts.endpoint.url} answered with an empty sound")
    if kind.startswith(("text/", "application/json")):
        raise _no_sound(tts, answer.data)
    return _decode(answer.data, tts.pcm_rate, tts)


def _no_sound(tts: TtsConfig, content: bytes) -> TryAgain:
    return TryAgain(_STAGE, f"{_name(tts)} gave something that is no sound: {content[:80]!r}")


def _decode(content: bytes, pcm_rate: int, tts: TtsConfig) -> tuple[np.ndarray, int]:
    """Channels are averaged."""
    if pcm_rate:
        if len(content) % 2:
            raise _no_sound(tts, content)
        return np.frombuffer(content, "<i2").astype(np.float32) / 32768, pcm_rate
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _no_sound(tts, content) from error
    return samples.mean(axis=1), rate


# A program -----------------------------------------------------------------------------------------


def _run(tts: CommandConfig, values: Mapping[str, str]) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory() as folder:
        text, output, said = (Path(folder) / name for name in ("text.txt", "sound.wav", "stderr.txt"))
        text.write_text(values["text"], encoding="utf-8")
        values = {**values, "text_file": str(text), "output": str(output)}
        words = [fill(word, values) for word in shlex.split(tts.command)]
        try:
            with text.open("rb") as stdin, said.open("wb") as stderr:
                done = subprocess.run(words, stdin=stdin, stdout=stderr, stderr=stderr, timeout=tts.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TryAgain(_STAGE, f"`{words[0]}` took more than {tts.timeout_s} s{_last_line(said)}") from error
        except OSError as error:
            raise CslmError(f"`{words[0]}` cannot be run ({error.strerror}); see the command of the synthesiser") from error
        if done.returncode:
            raise TryAgain(_STAGE, f"`{words[0]}` ended with code {done.returncode}{_last_line(said)}")
        if not output.is_file() or not output.stat().st_size:
            raise TryAgain(_STAGE, f"`{words[0]}` wrote no sound{_last_line(said)}")
        return _decode(output.read_bytes(), 0, tts)


def _last_line(said: Path) -> str:
    lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((f": {line.strip()[:200]}" for line in reversed(lines) if line.strip()), "")
