"""Text -> sound by espeak-ng, which the espeakng_loader wheel carries: a hundred languages, thousands of voices, no GPU.

`speak` is a pure function of its arguments. That is not free: espeak-ng keeps the phase of its
pitch flutter and of its noise generator from one utterance to the next, so the library is loaded
anew for each of them (a third of a millisecond).
"""

from __future__ import annotations

import _ctypes
import ctypes
import dataclasses
import functools
import hashlib
from pathlib import Path

import espeakng_loader
import numpy as np
import soxr
from jaxtyping import Float

from cslm_jax.errors import BadRecord, CslmError

NATIVE_RATE = 22050
"""Samples a second that espeak-ng synthesises."""

VARIANTS = (
    "m1", "m2", "m3", "m4", "m6", "m7", "m8", "f4", "Alex", "Annie", "Denis", "Diogo", "Hugo", "Mike", "adam", "aunty",
    "benjamin", "ed", "edward", "grandma", "john", "linda", "max", "michel", "paul",
)  # fmt: skip
"""Timbres of `any_voice`: those that could be people. No whisper, no robots, no voice with a formant bent out of its
range. Variants with breath noise are left out too: espeak-ng makes it from memory that it never sets, so it never speaks
with them twice alike."""

# Languages whose espeak-ng voice is not called like the language itself.
_VOICE_NAMES = {"zh": "cmn"}

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
_PARAMETER_RATE, _PARAMETER_PITCH = 1, 3
_SAMPLES_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclasses.dataclass(frozen=True)
class Voice:
    """How a speaker sounds, in any language."""

    variant: str = ""
    """Timbre of espeak-ng, e.g. "f2"; empty for the language's plain voice."""
    words_per_minute: int = 165
    """Speaking rate, 80 to 450."""
    pitch: int = 50
    """Base pitch, 0 to 99."""

    def __post_init__(self):
        if not 80 <= self.words_per_minute <= 450:
            raise ValueError(f"words_per_minute is {self.words_per_minute}; espeak-ng speaks 80 to 450 words a minute")
        if not 0 <= self.pitch <= 99:
            raise ValueError(f"pitch is {self.pitch}; espeak-ng takes 0 to 99")

    @property
    def speaker(self) -> str:
        """A name for records, e.g. "f2-165-50"."""
        return f"{self.variant or 'plain'}-{self.words_per_minute}-{self.pitch}"

    @classmethod
    def of_speaker(cls, speaker: str) -> Voice:
        """The inverse of `speaker`.

        Raises:
            CslmError: it is not written so, or a number is out of range.
        """
        match speaker.rsplit("-", 2):
            case [variant, rate, pitch] if rate.isdecimal() and pitch.isdecimal():
                try:
                    return cls("" if variant == "plain" else variant, int(rate), int(pitch))
                except ValueError as error:
                    raise CslmError(f"the voice {speaker!r}: {error}") from error
        raise CslmError(f"the voice {speaker!r} is not written as variant-rate-pitch, such as f2-165-50 or plain-165-50")


def any_voice(key: str) -> Voice:
    """One of many thousand voices, chosen by a stable hash of `key` (say, a record id)."""
    digest = hashlib.sha256(key.encode()).digest()
    return Voice(
        variant=VARIANTS[digest[0] % len(VARIANTS)],
        words_per_minute=140 + digest[1] % 41,
        pitch=30 + digest[2] % 41,
    )


def speak(text: str, language: str, voice: Voice, sample_rate: int = 16000) -> Float[np.ndarray, "S"]:
    """The waveform of `text`, within [-1, 1], the same one for the same arguments.

    Args:
        language: "en", "zh", or any language code that espeak-ng knows, such as "fr".
        sample_rate: samples a second of the result; 22050 is espeak-ng's own.

    Raises:
        BadRecord: (stage "text") the text has no letter or digit.
        CslmError: espeak-ng has no such language or variant.
    """
    if not any(character.isalnum() for character in text):
        raise BadRecord("text", f"there is nothing to say in {text!r}")
    samples = _synthesise(text, _voice_path(language, voice.variant), voice.words_per_minute, voice.pitch)
    waveform = samples.astype(np.float32) / 32768
    if sample_rate == NATIVE_RATE:
        return waveform
    return np.clip(soxr.resample(waveform, NATIVE_RATE, sample_rate), -1, 1)


@functools.cache
def _voice_path(language: str, variant: str) -> str:
    """The voice by its file, e.g. "sit/cmn+f2": espeak-ng scans all its 130 files for a bare name."""
    data = Path(espeakng_loader.get_data_path())
    name = _VOICE_NAMES.get(language, language)
    files = sorted((data / "lang").glob(f"*/{name}"))
    if not files:
        raise CslmError(f"espeak-ng has no voice for the language {language!r}; it knows the names in {data / 'lang'}")
    if variant and not (data / "voices" / "!v" / variant).is_file():
        raise CslmError(f"espeak-ng has no variant {variant!r}; it knows the names in {data / 'voices' / '!v'}")
    return f"{files[0].parent.name}/{name}" + (f"+{variant}" if variant else "")


def _synthesise(text: str, voice_path: str, words_per_minute: int, pitch: int) -> np.ndarray:
    """16-bit samples at NATIVE_RATE from a freshly loaded library."""
    chunks: list[np.ndarray] = []

    def collect(samples, count, _events):
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _SAMPLES_CALLBACK(collect)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if rate != NATIVE_RATE:
            raise CslmError(f"espeak-ng did not start (code {rate}); reinstall the espeakng-loader package")
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice_path.encode()) != 0:
            raise CslmError(f"espeak-ng refuses the voice {voice_path!r}")
        library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
        library.espeak_SetParameter(_PARAMETER_PITCH, pitch, 0)
        encoded = text.encode()
        library.espeak_Synth(encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
        library.espeak_Synchronize()
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)
