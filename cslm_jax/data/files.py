"""Files that are whole or not there at all: atomic writing, and reading with errors that name the file."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from array_record.python import array_record_module

from cslm_jax.errors import CslmError

# One record a chunk, so that reading one at random decompresses no neighbour.
_WRITER_OPTIONS = "group_size:1,zstd:3"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it takes the place of `path` if the block succeeds and vanishes if not.

    Raises:
        CslmError: the disk is full, or the folder cannot be made. What the block wrote is gone, and what was there before it
            stays.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    _make_folder(path.parent)
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        if not _disk_is_full(error):
            raise
        todo = "free some space and run the same command again; it goes on with what is finished"
        raise CslmError(f"{path} cannot be written: {error}; {todo}") from error
    finally:
        _remove(temporary)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        todo = "free some space" if _disk_is_full(error) else "name another one in the config"
        raise CslmError(f"the folder {folder} cannot be made: {error}; {todo} and run the same command again") from error


def _disk_is_full(error: OSError | RuntimeError) -> bool:
    """ArrayRecord raises a RuntimeError with the system's words."""
    words = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)]
    return any(word in str(error) for word in words)


def clear_leftovers(directory: Path, name: str) -> None:
    """Removes what killed processes left of the file `name`, or of all files `name.*`.

    Only whoever makes them may call it: what another process is writing right now looks the same.
    """
    for path in directory.glob(f".{glob.escape(name)}.*.tmp"):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="")


class LineWriter:
    """Writes one JSON value a line, and counts them."""

    def __init__(self, file: TextIO):
        self._file, self.count = file, 0

    def write(self, row: Any) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.count += 1


@contextlib.contextmanager
def line_writer(path: Path) -> Iterator[LineWriter]:
    """A file of JSON lines that appears under its name only when it is complete."""
    # Half a character, as in a name of a file that is no UTF-8, becomes \udce9: JSON writes it so.
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield LineWriter(file)


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """One JSON value a line."""
    with line_writer(path) as writer:
        for row in rows:
            writer.write(row)


def read_json(path: Path, remedy: str) -> Any:
    """Raises CslmError naming the file and the remedy."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, error, remedy) from error


def read_lines(path: Path, remedy: str) -> Iterator[Any]:
    """The inverse of `write_lines`, a line at a time; raises CslmError naming the file and the remedy."""
    try:
        # Lines end at \n alone: JSON leaves U+2028 and U+0085 in a string as they are.
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from map(json.loads, file)
    except (OSError, ValueError) as error:
        raise damaged(path, error, remedy) from error


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def record_writer(path: Path) -> Iterator[array_record_module.ArrayRecordWriter]:
    """An ArrayRecord file that appears under its name only when it is complete."""
    with replacing(path) as temporary:
        writer = array_record_module.ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)
        try:
            yield writer
        finally:
            writer.close()


class RecordFile:
    """Random access to an ArrayRecord file.

    Args:
        count: records that its index says it holds.
        remedy: what to do if it is damaged, see `damaged`.

    Raises:
        CslmError: the file is missing, truncated or corrupted; the message names it.
    """

    def __init__(self, path: Path, count: int, remedy: str):
        self.path, self.count, self._remedy = path, count, remedy
        try:
            if not path.is_file():
                raise FileNotFoundError("no such file")
            self._reader = array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
            found = self._reader.num_records()
        except (OSError, RuntimeError, ValueError) as error:
            raise damaged(path, error, remedy) from error
        if found != count:
            raise damaged(path, f"it holds {found} records and its index says {count}", remedy)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        if not len(indices):
            return []
        try:
            return self._reader.read(list(map(int, indices)))
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise damaged(self.path, error, self._remedy) from error

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, self.count, 1024):
            yield from self.read(range(start, min(self.count, start + 1024)))


def damaged(path: Path, reason: object, remedy: str) -> CslmError:
    """The error that names a file which cannot be used.

    Args:
        remedy: an imperative for the user; whoever owns the file knows what may be deleted and how it is made again.
    """
    state = f"is truncated or corrupted ({reason})" if path.exists() else "is missing"
    return CslmError(f"{path} {state}; {remedy}")
