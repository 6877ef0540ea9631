"""Pictures and sounds as data URIs, so that a report is one file that can be mailed."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Mapping, Sequence

import librosa
import matplotlib
import numpy as np
import soundfile
from jaxtyping import Float
from matplotlib import colors, image, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

History = Sequence[Mapping[str, float]]
"""Lines of a metrics.jsonl."""

_WINDOW = 1024
_INK = "#808792"  # readable on white and on black: pictures do not know the colour scheme of the page
_COLOURS = ("#2f7de1", "#e0662f", "#2aa37a", "#a45bd8", "#d9a400", "#d6447f", "#18a7c4", "#7a9a1f")


def loss_curve(history: History) -> str:
    """The loss over steps on a log scale, with the loss of each task (`loss/<task>`) thinner behind it."""
    style = {"axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
             "font.size": 9, "svg.fonttype": "path", "svg.hashsalt": "cslm"}  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(3.9, 2.7), layout="constrained")
        axis = figure.subplots()
        tasks = sorted({name for line in history for name in line if name.startswith("loss/")})
        for task, colour in zip(tasks, itertools.cycle(_COLOURS[1:])):  # noqa: B905
            steps, values = _series(history, task)
            axis.plot(steps, _smooth(values), lw=0.9, alpha=0.8, color=colour, label=task.removeprefix("loss/"))
        steps, values = _series(history, "loss")
        axis.plot(steps, values, lw=0.6, alpha=0.25, color=_COLOURS[0])
        axis.plot(steps, _smooth(values), lw=1.8, color=_COLOURS[0])
        _dress(axis, positive=values.size > 0 and values.min() > 0, legend=len(tasks) > 1)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _uri("image/svg+xml", buffer.getvalue())


def _dress(axis: Axes, positive: bool, legend: bool) -> None:
    axis.set_xlabel("step")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.18)
    if positive:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=12))
        axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.yaxis.set_minor_formatter(ticker.NullFormatter())
    if legend:
        axis.legend(fontsize=6, frameon=False, ncols=2, labelcolor=_INK)


def _series(history: History, key: str) -> tuple[np.ndarray, np.ndarray]:
    lines = [line for line in history if line.get(key) is not None]
    return np.array([line["step"] for line in lines]), np.array([line[key] for line in lines], float)


def _smooth(values: Float[np.ndarray, "N"], share: float = 0.03) -> Float[np.ndarray, "N"]:
    """Running mean over a share of the curve; at its ends over what there is."""
    half = int(len(values) * share) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centres = np.arange(len(values))
    first, last = np.maximum(centres - half, 0), np.minimum(centres + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def spectrogram(waveform: Float[np.ndarray, "S"], sample_rate: int, height: int = 96) -> str:
    """Log-mel spectrogram without axes, low frequencies at the bottom; the page stretches it and draws over it."""
    waveform = np.pad(waveform, (0, max(_WINDOW - len(waveform), 0)))
    hop = max(len(waveform) // 900, 64)
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=sample_rate, n_fft=_WINDOW, hop_length=hop, n_mels=height, fmax=min(8000, sample_rate / 2)
    )
    decibels = librosa.power_to_db(mel, ref=np.max, top_db=70)
    return _picture((decibels[::-1] + 70) / 70, "magma")


def unit_strip(units: Sequence[int], codes: int) -> str:
    """One coloured pixel a frame; equal units have equal colours, unlike ones most often unlike colours."""
    hues = (np.asarray(units, float)[None] * 0.61803398875) % 1
    lightness = 0.55 + 0.35 * (np.asarray(units)[None] / max(codes, 1))
    return _picture(colors.hsv_to_rgb(np.stack([hues, np.full_like(hues, 0.55), lightness], -1)), None)


def player(waveform: Float[np.ndarray, "S"], sample_rate: int) -> str:
    """Sound as MP3, which every browser and phone plays."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sample_rate, format="MP3", subtype="MPEG_LAYER_III")
    return _uri("audio/mpeg", buffer.getvalue())


def _picture(pixels: Float[np.ndarray, "..."], palette: str | None) -> str:
    buffer = io.BytesIO()
    image.imsave(buffer, pixels, cmap=palette, vmin=0, vmax=1, format="png")
    return _uri("image/png", buffer.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
