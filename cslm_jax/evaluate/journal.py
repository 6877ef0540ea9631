"""Finished measures on disk, so that an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float

from cslm_jax.data.files import replacing, write_json
from cslm_jax.evaluate.measures import Result
from cslm_jax.evaluate.system import Spoken
from cslm_jax.speech import audio

log = logging.getLogger(__name__)


def fingerprint(*parts: Any) -> str:
    """Short hash of whatever a measure's values depend on; dataclasses and JSON values."""
    plain = [dataclasses.asdict(part) if dataclasses.is_dataclass(part) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Journal:
    """One JSON file a measure, and the sounds of its first items."""

    directory: Path
    """Of the JSON files."""
    samples: Path
    """Of the sounds, `<measure>_<i>.wav` with the text beside as `.txt`."""
    count: int
    """Items of a measure whose sound is kept."""
    sample_rate: int
    """Of the sounds."""

    def measure(self, name: str, mark: str, compute: Callable[[], Result], limit: int = 0) -> dict[str, Any]:
        """What is on disk for a measure, or what `compute` gives if there is nothing with the same mark and limit."""
        path = self.directory / f"{name}.json"
        kept = read(path)
        if kept is not None and (kept["fingerprint"], kept["limit"]) == (mark, limit):
            log.info("%s: measured before (%s)", name, path)
            return kept
        begin = time.monotonic()
        result = compute()
        items = [dict(item) for item in result.items]
        for i, (item, sound) in enumerate(zip(items, result.sounds[: self.count], strict=False)):
            if sound.waveform.size:
                question = result.questions[i] if i < len(result.questions) else None
                item["sound"] = self._keep(f"{name}_{i}", item, sound, question)
        written = {
            "fingerprint": mark,
            "limit": limit,
            "values": dict(result.values),
            "intervals": dict(result.intervals),
            "n": result.n,
            "seconds": time.monotonic() - begin,
            "items": items,
        }
        write_json(path, written)
        return written

    def _keep(self, name: str, item: dict[str, Any], sound: Spoken, question: Float[np.ndarray, "S"] | None) -> dict[str, Any]:
        """Writes what was asked and what was spoken, with the text beside."""
        with replacing(self.samples / f"{name}.txt") as temporary:
            lines = [f"{key}: {value}\n" for key, value in item.items() if isinstance(value, str)]
            temporary.write_text("".join(lines), encoding="utf-8")
        _write_wav(self.samples / f"{name}.wav", sound.waveform, self.sample_rate)
        kept = {
            "file": f"{name}.wav",
            "cuts": [float(cut) for cut in sound.cuts],
            "units": [units.tolist() for units in sound.units],
        }
        if question is not None:
            _write_wav(self.samples / f"{name}_question.wav", question, audio.SAMPLE_RATE)
            kept["question"] = f"{name}_question.wav"
        return kept


def _write_wav(path: Path, waveform: Float[np.ndarray, "S"], sample_rate: int) -> None:
    with replacing(path) as temporary:
        soundfile.write(temporary, waveform, sample_rate, format="WAV", subtype="PCM_16")


def read(path: Path) -> dict[str, Any] | None:
    """A finished measure; None for what is not there, cannot be read or is of another version: it is measured again."""
    try:
        found = json.loads(path.read_text())
        return found if {"fingerprint", "limit", "values", "items"} <= set(found) else None
    except (OSError, ValueError, TypeError):
        return None
