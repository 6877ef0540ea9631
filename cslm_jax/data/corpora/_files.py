"""The files of a corpus, and their lines as bytes."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from cslm_jax.data.corpora import CorpusConfig
from cslm_jax.errors import BadRecord, CslmError

BOM = b"\xef\xbb\xbf"


def find(corpus: CorpusConfig, suffixes: Sequence[str]) -> list[Path]:
    """The corpus's file, or the files with these suffixes below its folder, in a fixed order; each may end in .gz too.

    Raises:
        CslmError: there are none.
    """
    root = Path(corpus.path)
    if root.is_file():
        return [root]
    wanted = tuple(suffix + end for suffix in suffixes for end in ("", ".gz"))
    found = sorted(
        path for path in root.rglob("*") if path.name.endswith(wanted) and path.is_file() and not _hidden(path.relative_to(root))
    )
    if not found:
        state = f"holds no file {' or '.join(filter(None, suffixes))}".rstrip() if root.is_dir() else "is not there"
        raise CslmError(f"corpora.{corpus.name}.path: {root} {state}")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def name(corpus: CorpusConfig, path: Path) -> str:
    """How ids name a file: its path below the corpus's folder."""
    root = Path(corpus.path)
    return path.name if root == path else path.relative_to(root).as_posix()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where it is packed; CslmError naming it where they cannot be read."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise CslmError(f"{path} is not there") from error
    except (EOFError, OSError, zlib.error) as error:
        raise CslmError(f"{path} cannot be read to its end ({error}); fetch it again") from error


def lines(path: Path) -> Iterator[bytes]:
    """Lines without their ends and without a BOM. Only \\n parts them (with \\r before it or not): U+2028 stays text."""
    with opened(path) as file:
        for i, line in enumerate(file):
            yield (line if i else line.removeprefix(BOM)).rstrip(b"\r\n")


def count_lines(path: Path) -> int:
    count, last = 0, b"\n"
    with opened(path) as file:
        while block := file.read(1 << 20):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def decoded(line: bytes, field: str) -> str:
    """Raises BadRecord naming the field."""
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise BadRecord("text", f"field `{field}` is not UTF-8: {error}") from None
