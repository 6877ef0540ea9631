"""Units -> waveform (paper sections 1 and 4).

`SpeechDecoder` is the interface; `MelDecoder` (duration predictor, mel net, Griffin-Lim) is the small
implementation, trained in a minute on the one voice that gives the answers.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import audio
from cslm_jax.speech.duration import (
    DurationConfig,
    DurationPredictor,
    duration_batches,
    duration_loss,
    predict_run_lengths,
)
from cslm_jax.speech.fit import Batch, FitConfig, Loss, digest, fit
from cslm_jax.speech.griffin_lim import GriffinLimConfig, griffin_lim
from cslm_jax.speech.mel_decoder import MelConfig, MelNet, mel_batches, mel_loss, mels, standardise
from cslm_jax.speech.units import Speech
from cslm_jax.speech.weights import load_description, load_weights, save_description, save_weights

DESCRIPTION = "decoder.json"
STATISTICS = 100
"""Windows that the mean and the deviation of the mel are taken from."""

UnitRow = Int[np.ndarray, "N"]
Waveform = Float[np.ndarray, "S"]


class SpeechDecoder(Protocol):
    """What generation and evaluation ask of a decoder; flow matching with HiFi-GAN fits the same two calls."""

    sample_rate: int
    """Samples a second of the waveforms."""
    codes: int
    """Number of different units."""
    unit_rate: int
    """Units a second, before merging."""

    def decode(self, units: UnitRow, run_lengths: UnitRow | None = None) -> Waveform:
        """Speaks merged units; `run_lengths` in frames are predicted when they are not known."""

    def decode_batch(self, units: Sequence[UnitRow], run_lengths: Sequence[UnitRow] | None = None) -> list[Waveform]:
        """Speaks many at once; every row sounds as by itself."""


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The three parts of the small decoder and how they are trained; small defaults (the miniature's own: miniature.defaults)."""

    duration: DurationConfig = DurationConfig(codes=512, dropout=0.1)
    """Merged units -> run lengths."""
    mel: MelConfig = MelConfig(codes=512)
    """Units -> mel."""
    griffin_lim: GriffinLimConfig = GriffinLimConfig()
    """Mel -> waveform."""
    duration_fit: FitConfig = FitConfig(steps=500, learning_rate=3e-3)
    """Optimisation of the duration predictor."""
    mel_fit: FitConfig = FitConfig(steps=500, learning_rate=3e-3, weight_decay=0.01)
    """Optimisation of the mel net."""
    utterances: int = 1000
    """Recordings to learn from: an hour of one voice."""
    duration_rows: int = 32
    """Windows in a batch of the duration predictor."""
    mel_rows: int = 16
    """Windows in a batch of the mel net."""
    window: int = 64
    """Units in a window: merged ones for durations, frames for the mel."""

    def __post_init__(self):
        if min(self.utterances, self.duration_rows, self.mel_rows, self.window) < 1:
            raise ValueError("decoder: utterances, duration_rows, mel_rows and window must be at least 1")
        if self.duration.codes != self.mel.codes:
            raise ValueError(
                f"decoder: duration.codes ({self.duration.codes}) and mel.codes ({self.mel.codes}) "
                "are the units of one tokenizer and must be equal"
            )


_PARTS = {"duration": DurationConfig, "mel": MelConfig, "griffin_lim": GriffinLimConfig}


class MelDecoder:
    """Duration predictor -> mel net -> Griffin-Lim, for one voice."""

    sample_rate = audio.VOCODER_SAMPLE_RATE

    def __init__(self, config: DecoderConfig, *, seed: int = 0):
        self.config = config
        self.duration = DurationPredictor(config.duration, rngs=nnx.Rngs(seed))
        self.mel = MelNet(config.mel, rngs=nnx.Rngs(seed + 1))

    @property
    def codes(self) -> int:
        return self.config.mel.codes

    @property
    def unit_rate(self) -> int:
        return self.config.mel.unit_rate

    def decode(self, units: UnitRow, run_lengths: UnitRow | None = None) -> Waveform:
        """One row of `decode_batch`."""
        return self.decode_batch([units], None if run_lengths is None else [run_lengths])[0]

    def decode_batch(self, units: Sequence[UnitRow], run_lengths: Sequence[UnitRow] | None = None) -> list[Waveform]:
        """Waveforms of int(frames / unit rate x sample rate / hop) x hop samples; no units give no sound.

        Raises:
            BadRecord: a unit is outside the codes of this decoder.
        """
        for row in units:
            self.check(row)
        if run_lengths is None:
            run_lengths = predict_run_lengths(self.duration, units)
        frames = [np.repeat(row, lengths) for row, lengths in zip(units, run_lengths, strict=True)]
        speak = functools.partial(griffin_lim, config=self.config.griffin_lim)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(speak, mels(self.mel, frames)))

    def save(self, directory: str | Path) -> None:
        """Writes duration.safetensors, mel.safetensors and, last, decoder.json."""
        directory = Path(directory)
        save_weights(self.duration, directory / "duration.safetensors")
        save_weights(self.mel, directory / "mel.safetensors")
        save_description({part: dataclasses.asdict(getattr(self.config, part)) for part in _PARTS}, directory / DESCRIPTION)

    @classmethod
    def load(cls, directory: str | Path) -> MelDecoder:
        """Reads what `save` wrote.

        Raises:
            CslmError: the directory holds no decoder, or a damaged one.
        """
        directory = Path(directory)
        if not (directory / DESCRIPTION).is_file():
            raise CslmError(f"{directory} holds no speech decoder; train one with `cslm decoder`")
        build = lambda found: DecoderConfig(**{part: kind(**found[part]) for part, kind in _PARTS.items()})
        decoder = cls(load_description(directory / DESCRIPTION, build))
        load_weights(decoder.duration, directory / "duration.safetensors")
        load_weights(decoder.mel, directory / "mel.safetensors")
        return decoder

    def check(self, units: UnitRow) -> None:
        """Raises BadRecord if a unit is outside the codes."""
        outside = [unit for unit in units if not 0 <= unit < self.codes]
        if outside:
            raise BadRecord("units", f"unit {outside[0]} is outside the decoder's codes 0 to {self.codes - 1}")


def train(
    config: DecoderConfig, utterances: Sequence[tuple[Speech, Waveform]], directory: str | Path | None = None
) -> MelDecoder:
    """Trains the decoder of one voice and saves it in `directory`; a rerun resumes from the last checkpoint there.

    Args:
        utterances: units with run lengths, and the 22,050 Hz waveforms they come from. An hour is plenty.

    Raises:
        BadRecord: a unit is outside config.mel.codes, which must be those of the tokenizer.
        CslmError: `directory` holds what was trained with another config, or on other utterances.
    """
    decoder = MelDecoder(config, seed=config.mel_fit.seed)
    for speech, _ in utterances:
        decoder.check(speech.units)
    standardise(decoder.mel, mel_batches(config.mel, utterances, STATISTICS, config.window, config.mel_fit.seed)(0))
    learn = functools.partial(_learn, config, utterances, None if directory is None else Path(directory))
    durations = duration_batches(
        [speech for speech, _ in utterances], config.duration_rows, config.window, config.duration_fit.seed
    )
    learn("duration", decoder.duration, duration_loss, durations, "duration predictor")
    windows = mel_batches(config.mel, utterances, config.mel_rows, config.window, config.mel_fit.seed)
    learn("mel", decoder.mel, mel_loss, windows, "mel decoder")
    if directory is not None:
        decoder.save(directory)
    return decoder


def _learn(
    config: DecoderConfig,
    utterances: Sequence[tuple[Speech, Waveform]],
    directory: Path | None,
    part: str,
    model: nnx.Module,
    loss: Loss,
    batch: Callable[[int], Batch],
    title: str,
) -> None:
    """Fits one part in a directory of its own."""
    chosen: FitConfig = getattr(config, f"{part}_fit")
    identity = _identity(config, part, utterances)
    fit(model, loss, batch, chosen, None if directory is None else directory / part, title, identity)


def _identity(config: DecoderConfig, part: str, utterances: Sequence[tuple[Speech, Waveform]]) -> dict[str, Any]:
    """What the duration predictor or the mel net is made of, but for its FitConfig."""
    names = (part, f"{part}_rows", "window", "utterances")
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name in names}
    lengths = np.array([len(waveform) for _, waveform in utterances])
    frames = digest(speech.frames for speech, _ in utterances)
    return settings | {"frames": frames, "lengths": digest([lengths])}
