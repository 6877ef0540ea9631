"""Waveforms -> units, transcripts and label log-probabilities: the trained speech tokenizer."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import audio, ctc, s3_published
from cslm_jax.speech.fit import digest, fit
from cslm_jax.speech.rows import Rows
from cslm_jax.speech.s3 import S3Tokenizer
from cslm_jax.speech.s3_config import MEL_RATE, Dtype, S3Config
from cslm_jax.speech.s3_training import Batches, TokenizerConfig, tokenizer_loss
from cslm_jax.speech.units import Speech
from cslm_jax.speech.weights import load_description, load_weights, save_description, save_weights
from cslm_jax.speech.windows import Window, windows

WEIGHTS, DESCRIPTION = "tokenizer.safetensors", "tokenizer.json"


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What the tokenizer hears in one waveform."""

    speech: Speech
    """Merged units and run lengths."""
    log_probs: Float[np.ndarray, "T V"] | None
    """Log-probabilities of the labels, one row a unit before merging; None of a tokenizer without CTC head."""


class SpeechTokenizer:
    """A trained tokenizer; immutable, so it can be shared."""

    def __init__(
        self,
        model: S3Tokenizer,
        labels: ctc.Labels | None,
        batch_seconds: float | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        """
        Args:
            labels: of the CTC head; None of a published tokenizer, which has none.
            batch_seconds: how much sound, padding included, goes through the model at once on each device; by default what
                keeps such a device busy.
            devices: share the rows of every batch; by default all accelerators of this host, or its processor.
        """
        self.config, self.labels = model.config, labels
        self._rows = Rows(batch_seconds or _batch_seconds(model.config), MEL_RATE, devices)
        self._graph, state = nnx.split(model)
        self._state = self._rows.replicate(state)
        self._run = self._rows.jit(functools.partial(_analyse, self._graph), arrays=3)
        self._loudest = self._rows.jit(lambda _, padded, lengths: audio.loudest_batch(padded, lengths, self.config.mels))

    @property
    def model(self) -> S3Tokenizer:
        return nnx.merge(self._graph, self._state)

    def analyse(self, waveforms: Sequence[Float[np.ndarray, "S"]]) -> list[Analysis]:
        """Units and label log-probabilities of 16 kHz waveforms, of any length where config.window_seconds is set.

        The shape that a waveform is computed in on a device follows from its own length alone (a bucket of frames, and the
        number of rows that belongs to the bucket), so its units do not depend on what else is in the call, nor on how many
        devices there are.

        Raises:
            BadRecord: (stage "audio") a waveform cannot be speech; where the others should go on, check them first
                with `check`.
        """
        for i, waveform in enumerate(waveforms):
            try:
                self.check(waveform)
            except BadRecord as error:
                raise BadRecord("audio", f"waveform {i} {error.reason}") from None
        cuts = [windows(len(waveform) // audio.HOP, self.config) for waveform in waveforms]
        spans = [(waveform, w.start, w.frames) for waveform, parts in zip(waveforms, cuts) for w in parts]
        heard = iter(self._map(self._run, self._state, spans, self._loudest_of(spans, cuts)))
        return [self._joined(parts, list(itertools.islice(heard, len(parts)))) for parts in cuts]

    def analyse_each(self, waveforms: Sequence[Float[np.ndarray, "S"] | BadRecord]) -> list[Analysis | BadRecord]:
        """Like `analyse`, but what cannot be heard stands as a reason in its place, and the others go on."""
        results = [waveform if isinstance(waveform, BadRecord) else self._complaint(waveform) for waveform in waveforms]
        good = [i for i, result in enumerate(results) if result is None]
        for i, analysis in zip(good, self.analyse([waveforms[i] for i in good]), strict=True):
            results[i] = analysis
        return results

    def _complaint(self, waveform: Float[np.ndarray, "S"]) -> BadRecord | None:
        try:
            self.check(waveform)
        except BadRecord as error:
            return error
        return None

    def check(self, waveform: Float[np.ndarray, "S"]) -> None:
        """Raises BadRecord (stage "audio") if the samples cannot be speech, or are more than the tokenizer hears at once."""
        if self.config.window_seconds is not None:
            return audio.check(waveform, max_seconds=float("inf"))
        audio.check(waveform)
        units, most = self.config.units(len(waveform) // audio.HOP), self.config.max_frames
        if units > most:
            seconds = f"{len(waveform) / audio.SAMPLE_RATE:.2f} s and {most / self.config.unit_rate:.2f} s"
            raise BadRecord("audio", f"has {units} units, and the tokenizer hears at most {most} at once ({seconds})")

    def _map(
        self, function: Callable, state: nnx.State | None, spans: Sequence[audio.Span], *more: Float[np.ndarray, "N"]
    ) -> list[Any]:
        """What a function from `Rows.jit` gives for each span, whose number in each of `more` it also takes."""

        def pack(members: Sequence[int], frames: int) -> tuple[np.ndarray, ...]:
            return (*audio.pad_spans([spans[i] for i in members], frames), *(numbers[members] for numbers in more))

        return self._rows.map(function, state, [frames for _, _, frames in spans], pack)

    def _loudest_of(self, spans: Sequence[audio.Span], cuts: Sequence[Sequence[Window]]) -> Float[np.ndarray, "N"]:
        """The largest power of the utterance that a span is a part of; of a whole utterance, which knows it, the least."""
        owner = np.repeat(np.arange(len(cuts)), [len(parts) for parts in cuts])
        partial = np.flatnonzero(np.isin(owner, [i for i, parts in enumerate(cuts) if len(parts) > 1]))
        loudest = np.full(len(cuts), np.log10(audio.SILENCE), np.float32)
        np.maximum.at(loudest, owner[partial], self._map(self._loudest, None, [spans[i] for i in partial]))
        return loudest[owner]

    def _joined(self, parts: Sequence[Window], heard: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> Analysis:
        kept = [w.keep(out, self.config) for w, out in zip(parts, heard)]
        units, log_probs = jax.tree.map(lambda *pieces: np.concatenate(pieces), *kept)
        return Analysis(Speech.from_frames(units, float(self.config.unit_rate)), log_probs)

    def transcribe(self, waveforms: Sequence[Float[np.ndarray, "S"]]) -> list[str]:
        """Greedy CTC transcripts, in the form of `ctc.spoken`.

        Raises:
            CslmError: the tokenizer has no CTC head.
        """
        if self.labels is None:
            raise CslmError(
                "a published speech tokenizer has no recogniser, so it cannot transcribe; point data.tokenizer at one that "
                "`cslm tokenizer` trained"
            )
        return [self.labels.decode(ctc.greedy(analysis.log_probs)) for analysis in self.analyse(waveforms)]

    def save(self, directory: str | Path) -> None:
        """Writes `tokenizer.safetensors` and `tokenizer.json` into the directory."""
        directory = Path(directory)
        save_weights(self.model, directory / WEIGHTS)
        characters = None if self.labels is None else "".join(self.labels.characters)
        described = {"model": dataclasses.asdict(self.config), "characters": characters}
        save_description(described, directory / DESCRIPTION)

    @classmethod
    def load(
        cls,
        path: str | Path,
        batch_seconds: float | None = None,
        dtype: Dtype | None = None,
        devices: Sequence[jax.Device] | None = None,
    ) -> SpeechTokenizer:
        """Reads the folder that `save` wrote, or the file of a published tokenizer (see `s3_published`).

        Args:
            dtype: in place of config.dtype.

        Raises:
            CslmError: there is no tokenizer, or a damaged one, or its parts do not fit each other.
        """
        path = Path(path)
        if path.is_file():
            return cls(s3_published.load(path, dtype or "float32"), None, batch_seconds, devices)
        if not files_of(path):
            raise CslmError(
                f"{path} holds no speech tokenizer; train one with `cslm tokenizer`, or name the file of a published one"
            )
        config, labels = load_description(path / DESCRIPTION, _described)
        config = dataclasses.replace(config, dtype=dtype or config.dtype)
        model = nnx.eval_shape(lambda: new_model(config, labels))  # no random weights that would be overwritten at once
        load_weights(model, path / WEIGHTS)
        return cls(model, labels, batch_seconds, devices)


def files_of(path: str | Path) -> list[Path]:
    """What `SpeechTokenizer.load` would read, so that a tokenizer can be told from others; nothing where there is none."""
    path = Path(path)
    found = [path] if path.is_file() else [path / DESCRIPTION, path / WEIGHTS]
    return found if all(file.is_file() for file in found) else []


def _batch_seconds(config: S3Config) -> float:
    """A single utterance keeps a processor busy with a wide model, and there the empty rows that fill up a batch cost time."""
    if jax.default_backend() != "cpu":
        return 192.0
    return 12.0 if config.width >= 512 else 48.0


def _described(found: dict[str, Any]) -> tuple[S3Config, ctc.Labels | None]:
    characters = found["characters"]
    return S3Config(**found["model"]), None if characters is None else ctc.Labels(tuple(characters))


def _analyse(
    graph: nnx.GraphDef, state: nnx.State, waveform: Array, lengths: Array, loudest: Array
) -> tuple[Array, Array | None]:
    model = nnx.merge(graph, state)
    return model(audio.log_mel_batch(waveform, lengths, model.config.mels, loudest), lengths)


def new_model(config: S3Config, labels: ctc.Labels | None, seed: int = 0) -> S3Tokenizer:
    """A tokenizer with random weights."""
    return S3Tokenizer(config, None if labels is None else labels.size, rngs=nnx.Rngs(params=seed))


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
