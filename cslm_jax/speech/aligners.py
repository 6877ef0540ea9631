"""The CTC models that can align a language, behind one interface, and how each is told by what lies at its path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import ctc
from cslm_jax.speech.aligner_plugs import DESCRIPTION, OnnxAligner, StoredLogProbs
from cslm_jax.speech.sense_voice_aligner import SenseVoiceAligner
from cslm_jax.speech.wav2vec2_aligner import Wav2Vec2Aligner

ESPEAK = "espeak"
"""In place of a path: no CTC model, but espeak-ng's own speech warped onto the recording (warp.py)."""


class Aligner(Protocol):
    """A CTC model as the aligner sees it: log-probabilities and labels, nothing else."""

    labels: ctc.Labels
    """The characters it knows, the blank and what stands between words."""
    frame_rate: float
    """Frames of log-probabilities a second; frame t is taken to last from t to t + 1 of them."""

    def log_probs(
        self, waveforms: Sequence[Float[np.ndarray, "_"]], ids: Sequence[str]
    ) -> list[Float[np.ndarray, "_ V"] | BadRecord]:
        """Frame log-probabilities of 16 kHz waveforms, one array each, or why there is none.

        Args:
            ids: of the recordings, for models that ran before and left a file for each.
        """
        ...


def load(path: str | Path, language: str) -> Aligner:
    """The aligner at `path`, for recordings in `language`.

    Raises:
        CslmError: nothing there is known; or a file is missing or damaged.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        return OnnxAligner.load(path)
    if (path / "am.mvn").is_file():
        return SenseVoiceAligner.load(path, language)
    if (path / "config.json").is_file():
        return Wav2Vec2Aligner.load(path)
    if (path / DESCRIPTION).is_file():
        return StoredLogProbs.load(path)
    raise CslmError(
        f"data.aligners.{language}: {path} is no aligner that is known: a Hugging Face folder of wav2vec 2.0 (with config.json), "
        f"SenseVoice-Small's folder (with am.mvn), a file .onnx with {DESCRIPTION} beside it, a folder of <recording id>.npy "
        f"with {DESCRIPTION}, or `{ESPEAK}`, which needs no model"
    )
