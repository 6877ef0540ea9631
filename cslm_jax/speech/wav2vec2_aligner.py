"""wav2vec 2.0 as an aligner: facebook/wav2vec2-base-960h for English, or any CTC model of its kind for another language.

Download the folder (config.json, vocab.json, preprocessor_config.json, model.safetensors) and give its place:
`--config.data.aligners en /models/wav2vec2-base-960h`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from cslm_jax.errors import BadRecord
from cslm_jax.speech import audio, ctc, wav2vec2_weights
from cslm_jax.speech.rows import Rows
from cslm_jax.speech.wav2vec2 import Wav2Vec2


class Wav2Vec2Aligner:
    """Character log-probabilities of wav2vec 2.0; immutable, so it can be shared."""

    def __init__(
        self,
        model: Wav2Vec2,
        labels: ctc.Labels,
        normalise: bool = True,
        batch_seconds: float = 48.0,
        devices: Sequence[jax.Device] | None = None,
    ):
        """
        Args:
            normalise: whether each waveform is brought to mean 0 and variance 1.
            batch_seconds: how much sound, padding included, goes through the network at once on each device.
            devices: share the rows of every batch; by default all accelerators of this host, or its processor.
        """
        self.config, self.labels, self.normalise = model.config, labels, normalise
        self.frame_rate = audio.SAMPLE_RATE / self.config.hop
        self._rows = Rows(batch_seconds, self.frame_rate, devices)
        graph, state = nnx.split(model)
        self._state, self._run = self._rows.replicate(state), self._rows.jit(functools.partial(_log_probs, graph))

    @classmethod
    def load(cls, directory: str | Path, batch_seconds: float = 48.0) -> Wav2Vec2Aligner:
        """Reads a Hugging Face folder; raises CslmError, see `wav2vec2_weights.load`. Computes in bfloat16 on accelerators."""
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
        return cls(*wav2vec2_weights.load(Path(directory), dtype), batch_seconds)

    def log_probs(
        self, waveforms: Sequence[Float[np.ndarray, "S"]], ids: Sequence[str] = ()
    ) -> list[Float[np.ndarray, "T V"] | BadRecord]:
        """One array a 16 kHz waveform, or why it cannot be speech; a waveform gives the same whatever else is in the call."""
        results: list = [audio.complaint(waveform) for waveform in waveforms]
        good = [i for i, complaint in enumerate(results) if complaint is None]
        lengths = [int(self.config.frames(len(waveforms[i]))) for i in good]

        def pack(members: Sequence[int], frames: int) -> tuple[np.ndarray, np.ndarray]:
            picked = [waveforms[good[member]] for member in members]
            padded = np.zeros((len(picked), frames * self.config.hop + self.config.receptive), np.float32)
            for row, waveform in zip(padded, picked, strict=True):
                row[: len(waveform)] = self._normalised(waveform)
            return padded, np.array(list(map(len, picked)), np.int32)

        found = self._rows.map(self._run, self._state, lengths, pack)
        for i, out, length in zip(good, found, lengths, strict=True):
            results[i] = out[:length]
        return results

    def _normalised(self, waveform: Float[np.ndarray, "S"]) -> Float[np.ndarray, "S"]:
        return (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7) if self.normalise else waveform


def _log_probs(graph: nnx.GraphDef, state: nnx.State, samples: Array, lengths: Int[Array, "B"]) -> Float[Array, "B T V"]:
    return nnx.merge(graph, state)(samples, lengths)
