"""Waveforms -> the input frames of SenseVoice: Kaldi's filterbank, stacked to 60 ms, normalised as the model was trained."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import kaldi_native_fbank
import numpy as np
from jaxtyping import Float

from cslm_jax.errors import CslmError
from cslm_jax.speech.audio import SAMPLE_RATE


def fbank(waveform: Float[np.ndarray, "S"], mels: int = 80) -> Float[np.ndarray, "T M"]:
    """Kaldi's log-mel filterbank of 16 kHz samples: Hamming windows of 25 ms every 10 ms that lie inside the sound.

    T is (S - 400) // 160 + 1. The samples are those of 16-bit sound (times 2^15), as Kaldi reads them. The rest is
    Kaldi's default (pre-emphasis 0.97, bins from 20 Hz to 8 kHz) but for the dither, noise of one step of 16 bits that the
    reference adds: there is none here, for the same sound should give the same units.
    """
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.window_type = "hamming"
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = mels
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(SAMPLE_RATE, np.asarray(waveform, np.float32) * 2**15)
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


def stack(frames: Float[np.ndarray, "T M"], stacked: int = 7, stride: int = 6) -> Float[np.ndarray, "U I"]:
    """Low frame rate: every `stride`-th frame with its neighbours, `stacked` in all, side by side; U is T / stride, rounded up.

    Beyond either end the outermost frame is repeated.
    """
    middles = np.arange(0, len(frames), stride)
    picked = middles[:, None] + np.arange(stacked) - stacked // 2
    return frames[picked.clip(0, len(frames) - 1)].reshape(len(middles), -1)


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """(x + shift) * scale, channel by channel, with the statistics of the training data."""

    shift: Float[np.ndarray, "I"]
    """Negative means."""
    scale: Float[np.ndarray, "I"]
    """Inverse standard deviations."""

    def __call__(self, x: Float[np.ndarray, "U I"]) -> Float[np.ndarray, "U I"]:
        return (x + self.shift) * self.scale

    @classmethod
    def load(cls, path: Path, size: int) -> Normalisation:
        """Reads the `<AddShift>` and `<Rescale>` layers of Kaldi's text format, `am.mvn` beside the published weights.

        Raises:
            CslmError: the file is missing or damaged, or is not for frames of `size` numbers.
        """
        try:
            text = path.read_text(encoding="utf-8")
            return cls(*(_layer(text, name, size) for name in ("AddShift", "Rescale")))
        except (OSError, ValueError) as error:
            raise CslmError(f"{path} cannot be read ({error}); download it again") from error


def _layer(text: str, name: str, size: int) -> Float[np.ndarray, "I"]:
    found = re.search(rf"<{name}>[^\[]*\[([^\]]*)\]", text)
    if found is None:
        raise ValueError(f"it has no <{name}> layer")
    numbers = np.array(found[1].split(), np.float32)
    if len(numbers) != size:
        raise ValueError(f"its <{name}> layer has {len(numbers)} numbers, not {size}")
    return numbers
