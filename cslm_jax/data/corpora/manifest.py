"""Any recordings with a table: manifest.tsv with the columns file and text, and id, language, speaker, split if wanted.

Sound files are named relative to the table. Tabs part the columns and nothing is quoted; a BOM and CRLF are fine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected
from cslm_jax.errors import CslmError

_COLUMNS = ("file", "text", "id", "language", "speaker", "split")


def read(corpus: CorpusConfig) -> Iterator[Item]:
    """The recordings of a manifest; a line that cannot be read is rejected, with its number.

    Raises:
        CslmError: no table, or one without the columns file and text.
    """
    path = Path(corpus.path)
    path = path / "manifest.tsv" if path.is_dir() else path
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise CslmError(f"corpora.{corpus.name}.path: {path} cannot be read ({error.strerror})") from error
    columns = lines[0].decode("utf-8", "replace").strip().split("\t") if lines else []
    if not {"file", "text"} <= set(columns):
        raise CslmError(f"{path}: the first line must name the columns; file and text are needed, found {columns}")
    if unknown := set(columns) - set(_COLUMNS):
        raise CslmError(f"{path}: unknown column {', '.join(sorted(unknown))}; known are {', '.join(_COLUMNS)}")
    seen: set[str] = set()
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            yield _item(line, columns, path, number, corpus, seen)


def _item(line: bytes, columns: list[str], path: Path, number: int, corpus: CorpusConfig, seen: set[str]) -> Recording | Rejected:
    def rejected(reason: str) -> Rejected:
        return Rejected(f"line {number}", str(path), "manifest", reason)

    try:
        cells = line.decode("utf-8").rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        return rejected(f"not UTF-8: {error}")
    if len(cells) != len(columns):
        return rejected(f"{len(cells)} columns in place of {len(columns)}")
    row = dict(zip(columns, map(str.strip, cells), strict=True))
    id = row.get("id") or row["file"]
    if not row["file"]:
        return rejected("field `file` is empty")
    if id in seen:
        return rejected(f"a second record with the id {id}")
    seen.add(id)
    language, split = row.get("language") or corpus.language, row.get("split") or "train"
    return Recording(id, language, row["text"], path.parent / row["file"], row.get("speaker", ""), split)
