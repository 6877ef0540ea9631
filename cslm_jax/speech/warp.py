"""Alignment without a trained model, for every language that espeak-ng speaks.

espeak-ng says the text, which tells when it says each word, and its sound is warped onto the recording (dynamic time warping
of cepstra, as in the aeneas aligner by Pettarin, 2015). What is said the same way at another pace, by another voice, is found
to within a unit or two; where the recording says something else than the text, there is no score to notice it by. So it is
nothing for Japanese with kanji: espeak-ng cannot read them, and says for each that it is a Chinese letter.
"""

from __future__ import annotations

import librosa
import numpy as np
from jaxtyping import Float, Int

from cslm_jax.errors import BadRecord
from cslm_jax.speech import align, audio, espeak
from cslm_jax.speech.align import Word

HOP_S = 0.02
"""Seconds between two frames that are compared."""
_WINDOW, _MELS, _CEPSTRA, _HIGHEST_HZ = 512, 40, 13, 4000  # telephone speech has nothing above
_QUIET_DB, _LOUDNESS_WEIGHT = -40.0, 4.0
_PAUSE_S = 0.15  # longer than what is silent inside a word
_MOST_PAIRS = 10**8  # of frames: each takes 20 bytes; 200 s against 200 s


def align_spoken(text: str, language: str, waveform: Float[np.ndarray, "S"]) -> tuple[Word, ...]:
    """The words of `text` with the times at which they are spoken.

    Args:
        waveform: 16 kHz samples that say the text.

    Raises:
        BadRecord: (stage "align") no word, or too little sound for the text, or both too long to be compared.
        CslmError: espeak-ng does not speak the language.
    """
    spans = align.words(text, language)
    if not spans:
        raise BadRecord("align", f"the text has no word to align: {text[:40]!r}")
    model, marks = espeak.speak_with_marks(text, language)
    of_model, said = _features(model)
    of_recording, loud = _features(waveform)
    seconds = len(waveform) / audio.SAMPLE_RATE
    if len(loud) < len(spans):
        raise BadRecord("align", f"{len(spans)} words in {seconds:.2f} s of sound")
    if len(said) * len(loud) > _MOST_PAIRS:
        raise BadRecord("align", f"{seconds:.0f} s of sound and {HOP_S * len(said):.0f} s of text are too much to be warped")
    first, last = _warp(of_model, of_recording)
    starts = _starts(spans, marks, HOP_S * (np.flatnonzero(said)[-1] + 1))
    frames = np.clip(np.round(starts / HOP_S).astype(int), 0, len(first) - 1)
    words, before = [], 0
    for span, start, end in zip(spans, frames, [*frames[1:], len(first)], strict=True):
        begins = max(before, first[start])
        before = max(begins, last[max(end - 1, start)] + 1)
        times = np.minimum(HOP_S * _without_silence(loud, begins, before), seconds)  # the last frame reaches beyond the end
        words.append(Word(*span, *times.tolist()))
    return tuple(words)


def _features(waveform: Float[np.ndarray, "S"]) -> tuple[Float[np.ndarray, "F T"], Float[np.ndarray, "T"]]:
    """What is compared: cepstra in units of their deviation, their slopes, and loudness; and what is not silence.

    Means and deviations are taken where there is speech, and away from both sides, so voices and microphones differ less.
    """
    hop = round(HOP_S * audio.SAMPLE_RATE)
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=audio.SAMPLE_RATE, n_fft=_WINDOW, hop_length=hop, n_mels=_MELS, fmax=_HIGHEST_HZ
    )
    decibels = librosa.power_to_db(mel, ref=np.max, top_db=60)
    loudness = decibels.max(axis=0)
    loud = loudness > _QUIET_DB
    cepstra = librosa.feature.mfcc(S=decibels, n_mfcc=_CEPSTRA)[1:]
    cepstra -= cepstra[:, loud].mean(axis=1, keepdims=True)
    cepstra /= cepstra[:, loud].std(axis=1, keepdims=True) + 1e-3
    slopes = librosa.feature.delta(cepstra, width=5, mode="nearest")
    level = _LOUDNESS_WEIGHT * np.clip(loudness / 50, -1, 0)
    return np.concatenate([cepstra, slopes, level[None]]), loud


def _warp(
    model: Float[np.ndarray, "F M"], recording: Float[np.ndarray, "F T"]
) -> tuple[Int[np.ndarray, "M"], Int[np.ndarray, "M"]]:
    """First and last frame of the recording that each frame of the model is matched with."""
    _, path = librosa.sequence.dtw(model, recording)
    first = np.full(model.shape[1], recording.shape[1])
    last = np.zeros(model.shape[1], int)
    np.minimum.at(first, path[:, 0], path[:, 1])
    np.maximum.at(last, path[:, 0], path[:, 1])
    return first, last


def _starts(spans: list[tuple[int, int]], marks: dict[int, float], end: float) -> Float[np.ndarray, "W"]:
    """Seconds at which the model begins each word. It does not mark every character of Chinese: evenly between two marks, from
    the beginning to the first, and from the last to the `end` of what is said."""
    begun = [next((marks[at] for at in range(*span) if at in marks), np.nan) for span in spans]
    known = ~np.isnan(begun)
    if not known.any():
        raise BadRecord("align", "espeak-ng marks no word of the text")
    places, times = np.append(np.flatnonzero(known), len(spans)), np.append(np.array(begun)[known], end)
    if not known[0]:
        places, times = np.insert(places, 0, 0), np.insert(times, 0, 0.0)
    return np.maximum.accumulate(np.interp(np.arange(len(spans)), places, times))


def _without_silence(loud: np.ndarray, start: int, end: int) -> Int[np.ndarray, "2"]:
    """A span without the silence at its ends, and on one side only of a pause; as it is if it is nothing but silence."""
    heard = start + np.flatnonzero(loud[start:end])
    if not len(heard):
        return np.array([start, end])
    stretches = np.split(heard, np.flatnonzero(np.diff(heard) * HOP_S > _PAUSE_S) + 1)
    longest = max(stretches, key=len)
    return np.array([longest[0], longest[-1] + 1])
