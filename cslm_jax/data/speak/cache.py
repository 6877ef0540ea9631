"""What translators and synthesisers answered, by what they were asked.

A sound is a FLAC file at the rate it came in, a translation a JSON file; their name is the hash of everything that decided
them, and both say inside what that was. Each is written whole or not at all, and is checked against its own hash when read,
so any number of processes may share a folder, be killed, and lose nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import soundfile

from cslm_jax.data import files
from cslm_jax.data.speak.sound import Sound
from cslm_jax.errors import CslmError

logger = logging.getLogger(__name__)

T = TypeVar("T")

Asked = Mapping[str, Any]
"""All that decides an answer, without secrets."""


class Cache:
    """Answers below DIRECTORY/ab/cd/."""

    def __init__(self, directory: str | Path):
        self._directory = Path(directory)

    def path(self, asked: Asked, suffix: str) -> Path:
        key = hashlib.sha256(json.dumps(asked, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
        return self._directory / key[:2] / key[2:4] / f"{key}{suffix}"

    def find_sound(self, asked: Asked) -> Sound | None:
        return _read(self.path(asked, ".flac"), _read_sound)

    def keep_sound(self, asked: Asked, sound: Sound) -> None:
        with _writing(self.path(asked, ".flac")) as temporary:
            with soundfile.SoundFile(temporary, "w", sound.rate, 1, "PCM_16", format="FLAC") as file:
                file.comment = json.dumps({"sha256": sound.sha256, "asked": asked})
                file.write(sound.samples)

    def find_text(self, asked: Asked) -> str | None:
        return _read(self.path(asked, ".json"), _read_text)

    def keep_text(self, asked: Asked, answer: str) -> None:
        with _writing(self.path(asked, ".json")) as temporary:
            temporary.write_text(json.dumps({"sha256": _sha256(answer), "asked": asked, "answer": answer}, indent=2) + "\n")


def _read(path: Path, read: Callable[[Path], T]) -> T | None:
    """None where there is no file; and where it is damaged, for it can be made again."""
    if not path.is_file():
        return None
    try:
        return read(path)
    except (OSError, ValueError, LookupError, TypeError, soundfile.SoundFileError) as error:
        logger.warning("%s is damaged (%s); it is made again", path, error)
        return None


def _read_sound(path: Path) -> Sound:
    with soundfile.SoundFile(path) as file:
        sound = Sound(file.read(dtype="int16"), file.samplerate)
        _check(sound.sha256, json.loads(file.comment)["sha256"])
    return sound


def _read_text(path: Path) -> str:
    content = json.loads(path.read_bytes())
    _check(_sha256(content["answer"]), content["sha256"])
    return content["answer"]


def _sha256(answer: str) -> str:
    return hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()


def _check(found: str, written: str) -> None:
    if found != written:
        raise ValueError("its hash is not that of what was written")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Path]:
    try:
        with files.replacing(path) as temporary:
            yield temporary
    except (OSError, soundfile.SoundFileError, CslmError) as error:
        raise CslmError(f"{path} cannot be written ({error}); speak.cache needs a folder with room") from error
