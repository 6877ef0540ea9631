"""Plots to look at data with: an utterance with everything that is known about it, lengths, shares of a mixture."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import librosa
import numpy as np
from jaxtyping import Float
from matplotlib import colors, font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cslm_jax.speech import audio
from cslm_jax.speech.align import Word
from cslm_jax.speech.chunks import Piece
from cslm_jax.speech.units import Speech

_SAID, _CUT = "#2f7de1", "#e0662f"
_WITH_HAN = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei")


def utterance(
    waveform: Float[np.ndarray, "S"], speech: Speech, text: str = "", words: Sequence[Word] = (), pieces: Sequence[Piece] = ()
) -> Figure:
    """Spectrogram, units, words and chunk cuts of one recording over each other, with one time axis in seconds.

    Args:
        waveform: 16 kHz samples.
        words, pieces: as `speech.align` gives them; spans of words are shaded, cuts between pieces dashed.
    """
    seconds = len(waveform) / audio.SAMPLE_RATE
    figure = Figure(figsize=(min(max(6, 2.2 * seconds), 18), 4.2), layout="constrained")
    above, sound, strip = figure.subplots(3, 1, sharex=True, height_ratios=(1, 4, 0.6))
    _spectrogram(sound, waveform, seconds)
    _units(strip, speech)
    _words(above, text, words, pieces)
    for word in words:
        sound.axvspan(word.start_s, word.end_s, ymin=0.97, color=_SAID)
    for piece in pieces[:-1]:
        for axis in (above, sound, strip):
            axis.axvline(piece.end_s, color=_CUT, ls="--", lw=1.6)
    strip.set_xlim(0, seconds)
    strip.set_xlabel("seconds")
    return figure


def _spectrogram(axis: Axes, waveform: Float[np.ndarray, "S"], seconds: float) -> None:
    mel = librosa.feature.melspectrogram(y=waveform, sr=audio.SAMPLE_RATE, n_fft=audio.WINDOW, hop_length=audio.HOP, n_mels=80)
    decibels = librosa.power_to_db(mel, ref=np.max, top_db=70)
    axis.imshow(decibels, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, len(mel)))
    axis.set_ylabel("mel bin")


def _units(axis: Axes, speech: Speech) -> None:
    """One coloured bar a unit, as long as its run; equal units have equal colours."""
    ends = np.cumsum(speech.run_lengths) / speech.unit_rate
    widths = speech.run_lengths / speech.unit_rate
    hues = speech.units * 0.61803398875 % 1
    filled = colors.hsv_to_rgb(np.stack([hues, np.full_like(hues, 0.5), np.full_like(hues, 0.95)], -1))
    axis.bar(ends - widths, 1, widths, align="edge", color=filled, edgecolor="white", lw=0.3)
    axis.set_ylabel(f"{len(speech.units)} units", rotation=0, ha="right", va="center")
    axis.set_yticks([])


def _words(axis: Axes, text: str, words: Sequence[Word], pieces: Sequence[Piece]) -> None:
    for word in words:
        axis.axvspan(word.start_s, word.end_s, ymin=0.05, ymax=0.55, color=_SAID, alpha=0.25)
        said, middle = text[word.start_char : word.end_char], (word.start_s + word.end_s) / 2
        axis.text(middle, 0.3, said, ha="center", va="center", fontsize=8, fontfamily=_fonts(), clip_on=True)
    for piece in pieces:
        middle = (piece.start_s + piece.end_s) / 2
        axis.text(middle, 0.8, piece.text.strip(), ha="center", va="center", fontsize=9, fontfamily=_fonts(), clip_on=True)
    axis.set_ylim(0, 1)
    axis.axis("off")


@functools.cache
def _fonts() -> list[str]:
    """Chinese characters need a font that has them: those that are installed, behind the usual one."""
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _WITH_HAN if name in installed)]


def histogram(values: Mapping[str, Sequence[float]], label: str, bins: int = 50) -> Figure:
    """One line a name over common bins, each scaled to its own area, so that small corpora are seen beside large ones."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate([np.asarray(each, float) for each in values.values()]), bins)
    for name, each in values.items():
        axis.hist(each, edges, density=True, histtype="step", lw=1.5, label=f"{name} ({len(each):,})")
    axis.set_xlabel(label)
    axis.set_yticks([])
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return figure


def shares(columns: Mapping[str, Mapping[str, float]]) -> Figure:
    """Shares of tasks, one stacked bar a column: what the records hold, what the mixture asks for, what a batch has."""
    figure = Figure(figsize=(7, 0.7 * len(columns) + 1.2), layout="constrained")
    axis = figure.subplots()
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    palette = dict(zip(names, colors.hsv_to_rgb([(i * 0.61803398875 % 1, 0.55, 0.9) for i in range(len(names))]), strict=True))
    for place, column in enumerate(columns.values()):
        left, whole = 0.0, sum(column.values())
        for name in names:
            width = column.get(name, 0.0) / whole
            axis.barh(place, width, left=left, color=palette[name], edgecolor="white", label=name if place == 0 else None)
            if width > 0.045:
                axis.text(left + width / 2, place, f"{name}\n{width:.0%}", ha="center", va="center", fontsize=7)
            left += width
    axis.set_yticks(range(len(columns)), list(columns))
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    return figure
