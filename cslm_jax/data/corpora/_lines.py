"""Lines of transcripts, as the readers of recordings need them: lazily, with their numbers, and a broken one does not end the
rest. (The readers of texts have rows in their place.)"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Rejected, _files
from cslm_jax.errors import BadRecord, CslmError


def lines(corpus: CorpusConfig, path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str] | Rejected]:
    """Lines that are not empty, without their ends (LF or CRLF) and a BOM, numbered from 1.

    Raises:
        CslmError: the file cannot be read, or there is no such encoding.
    """
    if not path.is_file():
        raise CslmError(f"corpora.{corpus.name}.path: {path} is not there")
    try:
        "".encode(encoding)
    except LookupError as error:
        raise CslmError(f"corpora.{corpus.name}.options: {error}; write e.g. utf-8 or gb18030") from error
    for number, line in enumerate(_files.lines(path), 1):
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError as error:
            yield broken(path, number, f"byte {error.start + 1} (0x{line[error.start]:02x}) is not {encoding}: {error.reason}")
        else:
            if text.strip():
                yield number, text


def rows(
    corpus: CorpusConfig, path: Path, columns: int, separator: str | None = None, encoding: str = "utf-8"
) -> Iterator[list[str] | Rejected]:
    """Lines as so many cells, none of which is empty.

    Args:
        separator: between cells; None for any white space, and then the last cell may hold more of it.
    """
    for line in lines(corpus, path, encoding):
        if isinstance(line, Rejected):
            yield line
            continue
        number, text = line
        cells = [cell.strip() for cell in text.split(separator, columns - 1 if separator is None else -1)]
        if len(cells) != columns or not all(cells):
            found = sum(map(bool, cells))
            yield broken(path, number, f"{found} columns in place of {columns}: {text[:60]!r}")
        else:
            yield cells


def by_id(rows: Iterable[list[str] | Rejected], path: Path) -> tuple[dict[str, str], list[Rejected]]:
    """Rows of two cells as a mapping from the first to the second, and what could not be read."""
    found: dict[str, str] = {}
    rejected: list[Rejected] = []
    for row in rows:
        if isinstance(row, Rejected):
            rejected.append(row)
        elif row[0] in found:
            rejected.append(Rejected(row[0], str(path), "transcript", f"a second line for the id {row[0]}"))
        else:
            found[row[0]] = row[1]
    return found, rejected


def text_of(path: Path, encoding: str = "utf-8") -> str:
    """A file that holds one text; BadRecord (stage "transcript") if it is not that encoding."""
    try:
        return path.read_bytes().removeprefix(_files.BOM).decode(encoding).strip()
    except UnicodeDecodeError as error:
        raise BadRecord("transcript", f"{path}: byte {error.start + 1} is not {encoding}: {error.reason}") from error


def broken(path: Path, number: int, reason: str) -> Rejected:
    """A line that cannot be read."""
    return Rejected(f"line {number}", str(path), "transcript", reason)
