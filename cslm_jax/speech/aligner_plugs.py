"""CTC models of the user's own: an ONNX file, or log-probabilities that any command wrote.

Both are described by `aligner.json` beside the file, or in the folder::

    {"characters": {"a": 1, "b": 2, "|": 3}, "blank": 0, "separator": "|", "frame_rate": 50}

`characters` gives the label id of each character (one character each, in the case that the model writes), `blank` is 0 and
`separator` (what stands between two words, where the model has it) a space if left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.speech import ctc

DESCRIPTION = "aligner.json"
_LEAST = -1e4
"""What stands for a smaller log-probability: with the logarithm of 0 there may be no path at all, and so no words."""


def _describe(path: Path) -> tuple[ctc.Labels, float]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        characters = found["characters"]
        labels = ctc.Labels(
            tuple(characters), tuple(characters.values()), found.get("blank", ctc.BLANK), found.get("separator", " ")
        )
        rate = float(found["frame_rate"])
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        example = '{"characters": {"a": 1, "b": 2}, "blank": 0, "frame_rate": 50}'
        raise CslmError(f"{path} does not describe an aligner ({reason}); it should look like {example}") from error
    if not rate > 0:
        raise CslmError(f"{path}: frame_rate is {rate}; it is frames of log-probabilities a second")
    return labels, rate


def _checked(found: np.ndarray, labels: ctc.Labels, name: str) -> Float[np.ndarray, "T V"]:
    """Raises BadRecord (stage "align") if these are no log-probabilities of the labels."""
    if found.ndim != 2 or found.shape[1] < labels.size:
        raise BadRecord("align", f"{name} has shape {found.shape}; needed are frames x at least {labels.size} labels")
    if np.isnan(found).any() or not np.issubdtype(found.dtype, np.floating) or (len(found) and found.max() > 1e-3):
        raise BadRecord("align", f"{name} holds no log-probabilities: they are floats, none above 0")
    return np.maximum(found, _LEAST, dtype=np.float32)


class StoredLogProbs:
    """A folder of `<recording id>.npy`: float (frames, labels) log-probabilities (not logits) of the whole recording.

    What `/` stands in an id is a folder.
    """

    def __init__(self, folder: Path, labels: ctc.Labels, frame_rate: float):
        self.folder, self.labels, self.frame_rate = folder, labels, frame_rate

    @classmethod
    def load(cls, folder: Path) -> StoredLogProbs:
        """Raises CslmError if the folder is not described."""
        return cls(folder, *_describe(folder / DESCRIPTION))

    def log_probs(
        self, waveforms: Sequence[Float[np.ndarray, "_"]], ids: Sequence[str]
    ) -> list[Float[np.ndarray, "_ V"] | BadRecord]:
        """See `Aligner`; a recording whose file is missing or unfit gets a BadRecord that names it."""
        return [self._read(self.folder / f"{id}.npy") for id in ids]

    def _read(self, path: Path) -> Float[np.ndarray, "T V"] | BadRecord:
        try:
            return _checked(np.load(path, allow_pickle=False), self.labels, str(path))
        except BadRecord as error:
            return error
        except (OSError, ValueError, EOFError) as error:
            return BadRecord("align", f"{path} cannot be read: {error}")


class OnnxAligner:
    """An ONNX graph: float32 waveforms (1, samples) at 16 kHz in, (1, frames, labels) log-probabilities or logits out.

    A second input, where there is one, gets the number of samples, int64 (1,). One waveform goes through at a time, for how
    a graph treats padding is its own affair.
    """

    def __init__(self, session: Any, labels: ctc.Labels, frame_rate: float, path: Path):
        self.labels, self.frame_rate = labels, frame_rate
        self._session, self._path = session, path
        self._inputs = [wanted.name for wanted in session.get_inputs()]

    @classmethod
    def load(cls, path: Path) -> OnnxAligner:
        """
        Raises:
            CslmError: onnxruntime is not installed, or the file or its description is missing or damaged.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise CslmError(f"{path} is run by onnxruntime, which is not installed: pip install 'cslm_jax[onnx]'") from error
        labels, rate = _describe(path.with_name(DESCRIPTION))
        try:
            session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        except Exception as error:  # onnxruntime's errors have no common class of their own
            raise CslmError(f"{path} cannot be read as ONNX: {error}") from error
        return cls(session, labels, rate, path)

    def log_probs(
        self, waveforms: Sequence[Float[np.ndarray, "_"]], ids: Sequence[str]
    ) -> list[Float[np.ndarray, "_ V"] | BadRecord]:
        """See `Aligner`."""
        return [self._run(waveform) for waveform in waveforms]

    def _run(self, waveform: Float[np.ndarray, "S"]) -> Float[np.ndarray, "T V"] | BadRecord:
        values = [waveform[None].astype(np.float32), np.array([len(waveform)], np.int64)]
        try:
            (out,) = self._session.run(None, dict(zip(self._inputs, values)))[0]
        except Exception as error:
            return BadRecord("align", f"{self._path} fails on this recording: {error}")
        log_probs = out - np.logaddexp.reduce(out, axis=-1, keepdims=True)  # of log-probabilities that is 0
        try:
            return _checked(log_probs, self.labels, str(self._path))
        except BadRecord as error:
            return error
