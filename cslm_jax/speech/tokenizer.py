"""Waveforms -> units, transcripts and label log-probabilities: the trained speech tokenizer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from cslm_jax.buckets import bucket
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import audio, ctc
from cslm_jax.speech.fit import digest, fit
from cslm_jax.speech.s3 import S3Config, S3Tokenizer
from cslm_jax.speech.s3_training import Batches, TokenizerConfig, tokenizer_loss
from cslm_jax.speech.units import Speech
from cslm_jax.speech.weights import load_description, load_weights, save_description, save_weights

WEIGHTS, DESCRIPTION = "tokenizer.safetensors", "tokenizer.json"


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What the tokenizer hears in one waveform."""

    speech: Speech
    """Merged units and run lengths."""
    log_probs: Float[np.ndarray, "T V"]
    """Log-probabilities of the labels, one row a unit before merging."""


class SpeechTokenizer:
    """A trained tokenizer; immutable, so it can be shared."""

    def __init__(self, model: S3Tokenizer, labels: ctc.Labels, batch_seconds: float = 48.0):
        """`batch_seconds` is how much sound, padding included, goes through the model at once."""
        self.config, self.labels, self.batch_seconds = model.config, labels, batch_seconds
        self._graph, self._state = nnx.split(model)
        self._run = jax.jit(functools.partial(_analyse, self._graph))

    @property
    def model(self) -> S3Tokenizer:
        return nnx.merge(self._graph, self._state)

    def analyse(self, waveforms: Sequence[Float[np.ndarray, "S"]]) -> list[Analysis]:
        """Units and label log-probabilities of 16 kHz waveforms.

        The shape that a waveform is computed in follows from its own length alone (a bucket of frames, and the
        number of rows that belongs to the bucket), so its units do not depend on what else is in the call.

        Raises:
            BadRecord: (stage "audio") a waveform cannot be speech; where the others should go on, check them first
                with `audio.check`.
        """
        for i, waveform in enumerate(waveforms):
            try:
                audio.check(waveform)
                self._check_length(waveform)
            except BadRecord as error:
                raise BadRecord("audio", f"waveform {i} {error.reason}") from None
        results: list[Analysis | None] = [None] * len(waveforms)
        for frames, rows, members in self._batches([len(waveform) // audio.HOP for waveform in waveforms]):
            padded, lengths = audio.pad_waveforms([waveforms[i] for i in members], frames)
            padded = np.pad(padded, ((0, rows - len(members)), (0, 0)))
            units, log_probs = self._run(self._state, padded, np.pad(lengths, (0, rows - len(members))))
            units, log_probs = np.asarray(units), np.asarray(log_probs)
            for row, (i, length) in enumerate(zip(members, self.config.units(lengths))):
                speech = Speech.from_frames(units[row, :length], float(self.config.unit_rate))
                results[i] = Analysis(speech, log_probs[row, :length].copy())
        return results

    def _check_length(self, waveform: Float[np.ndarray, "S"]) -> None:
        units, most = self.config.units(len(waveform) // audio.HOP), self.config.max_frames
        if units > most:
            seconds = f"{len(waveform) / audio.SAMPLE_RATE:.2f} s and {most / self.config.unit_rate:.2f} s"
            raise BadRecord("audio", f"has {units} units, and the tokenizer hears at most {most} at once ({seconds})")

    def transcribe(self, waveforms: Sequence[Float[np.ndarray, "S"]]) -> list[str]:
        """Greedy CTC transcripts, in the form of `ctc.spoken`."""
        return [self.labels.decode(ctc.greedy(analysis.log_probs)) for analysis in self.analyse(waveforms)]

    def _batches(self, lengths: Sequence[int]) -> list[tuple[int, int, list[int]]]:
        """(padded frames, rows, members) of every batch."""
        members: dict[int, list[int]] = {}
        for i, length in enumerate(lengths):
            members.setdefault(bucket(length), []).append(i)
        batches = []
        for frames, group in members.items():
            rows = max(int(self.batch_seconds * 100 / frames), 1)
            batches += [(frames, rows, group[i : i + rows]) for i in range(0, len(group), rows)]
        return batches

    def save(self, directory: str | Path) -> None:
        """Writes `tokenizer.safetensors` and `tokenizer.json` into the directory."""
        directory = Path(directory)
        save_weights(self.model, directory / WEIGHTS)
        described = {"model": dataclasses.asdict(self.config), "characters": "".join(self.labels.characters)}
        save_description(described, directory / DESCRIPTION)

    @classmethod
    def load(cls, directory: str | Path, batch_seconds: float = 48.0) -> SpeechTokenizer:
        """Reads what `save` wrote.

        Raises:
            CslmError: the directory holds no tokenizer, or a damaged one, or its two files do not fit each other.
        """
        directory = Path(directory)
        if not (directory / DESCRIPTION).is_file():
            raise CslmError(f"{directory} holds no speech tokenizer; train one with `cslm tokenizer`")
        config, labels = load_description(
            directory / DESCRIPTION, lambda found: (S3Config(**found["model"]), ctc.Labels(tuple(found["characters"])))
        )
        model = nnx.eval_shape(lambda: new_model(config, labels))  # no random weights that would be overwritten at once
        load_weights(model, directory / WEIGHTS)
        return cls(model, labels, batch_seconds)


def _analyse(graph: nnx.GraphDef, state: nnx.State, waveform: Array, lengths: Array) -> tuple[Array, Array]:
    model = nnx.merge(graph, state)
    return model(audio.log_mel_batch(waveform, lengths, model.config.mels), lengths)


def new_model(config: S3Config, labels: ctc.Labels, seed: int = 0) -> S3Tokenizer:
    """A tokenizer with random weights."""
    return S3Tokenizer(config, labels.size, rngs=nnx.Rngs(params=seed))


def train(
    config: TokenizerConfig,
    waveforms: Sequence[Float[np.ndarray, "S"]],
    texts: Sequence[str],
    directory: str | Path | None = None,
) -> SpeechTokenizer:
    """Trains a tokenizer on (16 kHz waveform, text) pairs of all languages and saves it in `directory`.

    A rerun with the same arguments resumes from the last checkpoint in `directory`.

    Raises:
        CslmError: `directory` holds what was trained with another config, or on other utterances.
    """
    labels = ctc.Labels.from_texts(texts)
    model = new_model(config.model, labels, config.fit.seed)
    loss = functools.partial(tokenizer_loss, config=config)
    batches = Batches(waveforms, texts, labels, config)
    fit(model, loss, batches, config.fit, directory, "tokenizer", _identity(config, labels, waveforms, texts))
    tokenizer = SpeechTokenizer(model, labels)
    if directory is not None:
        tokenizer.save(directory)
    return tokenizer


def _identity(
    config: TokenizerConfig, labels: ctc.Labels, waveforms: Sequence[Float[np.ndarray, "S"]], texts: Sequence[str]
) -> dict[str, Any]:
    """What a tokenizer is made of, but for config.fit."""
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name != "fit"}
    lengths = np.array([len(waveform) for waveform in waveforms])
    data = {"characters": "".join(labels.characters), "texts": digest(texts), "lengths": digest([lengths])}
    return settings | data
