"""Lines of transcripts, as readers need them: lazily, with their numbers, and a broken one does not end the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Rejected
from cslm_jax.errors import BadRecord, CslmError

_BOM = b"\xef\xbb\xbf"


def lines(corpus: CorpusConfig, path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str] | Rejected]:
    """Lines that are not empty, without their ends (LF or CRLF) and a BOM, numbered from 1.

    Raises:
        CslmError: the file cannot be read, or there is no such encoding.
    """
    try:
        file = path.open("rb")
        "".encode(encoding)
    except OSError as error:
        raise CslmError(f"corpora.{corpus.name}.path: {path} cannot be read ({error.strerror})") from error
    except LookupError as error:
        raise CslmError(f"corpora.{corpus.name}.options: {error}; write e.g. utf-8 or gb18030") from error
    with file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(_BOM) if number == 1 else line
            try:
                text = line.decode(encoding).rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield broken(
                    path, number, f"byte {error.start + 1} (0x{line[error.start]:02x}) is not {encoding}: {error.reason}"
                )
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
        return path.read_bytes().removeprefix(_BOM).decode(encoding).strip()
    except UnicodeDecodeError as error:
        raise BadRecord("transcript", f"{path}: byte {error.start + 1} is not {encoding}: {error.reason}") from error


def broken(path: Path, number: int, reason: str) -> Rejected:
    """A line that cannot be read."""
    return Rejected(f"line {number}", str(path), "transcript", reason)
