"""Rows of published files, streamed: JSON (an array, or an object a line) and parquet; and the items made of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ijson

from cslm_jax.data.corpora import CorpusConfig, Item, Rejected, _files
from cslm_jax.errors import BadRecord, CslmError

SUFFIXES = (".json", ".jsonl", ".parquet")
_PARQUET_ROWS = 1024
_EMPTY = object()  # what a line without anything gives; null is a value


@dataclasses.dataclass(frozen=True)
class Row:
    """An object of a file."""

    id: str
    """The file and the number of the row in it: unique, whatever ids the file has."""
    file: Path
    place: str
    """For messages: line 12."""
    fields: Mapping[str, Any]

    def text(self, field: str) -> str:
        """A field as text; BadRecord names it if it is none."""
        value = self.fields.get(field)
        if not isinstance(value, str):
            raise BadRecord("text", f"field `{field}` is {'missing' if value is None else repr(value)[:40]}; it must be text")
        return value.strip()


def read(corpus: CorpusConfig, columns: Collection[str] | None = None) -> Iterator[Row | Rejected]:
    """The rows of all files of a corpus.

    Args:
        columns: the ones that are read of parquet; None for all.

    Raises:
        CslmError: there is no such file, or one is truncated or corrupted; the message names it.
    """
    for path in _files.find(corpus, SUFFIXES):
        yield from read_file(path, _files.name(corpus, path), columns)


def read_file(path: Path, name: str, columns: Collection[str] | None = None) -> Iterator[Row | Rejected]:
    """The rows of one file, which ids call by `name`."""
    kind, values = ("row", _parquet(path, columns)) if path.suffix == ".parquet" else _json(path)
    for number, value in enumerate(values, 1):
        place = f"{kind} {number}"
        match value:
            case BadRecord(stage=stage, reason=reason):
                yield Rejected(f"{name}:{number}", str(path), stage, f"{place}: {reason}")
            case dict():
                yield Row(f"{name}:{number}", path, place, value)
            case _ if value is _EMPTY:
                pass
            case _:
                yield Rejected(f"{name}:{number}", str(path), "text", f"{place}: no object, but {repr(value)[:40]}")


def items(rows: Iterable[Row | Rejected], make: Callable[[Row], Iterable[Item]]) -> Iterator[Item]:
    """What `make` makes of each row; a row of which it cannot make anything is rejected."""
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        try:
            yield from make(row)
        except BadRecord as error:
            yield Rejected(row.id, str(row.file), error.stage, f"{row.place}: {error.reason}")


def _json(path: Path) -> tuple[str, Iterator[Any]]:
    """Many files that are called .json hold an object a line."""
    with _files.opened(path) as file:
        start = file.read(4096).removeprefix(_files.BOM).lstrip()
    return ("entry", _array(path)) if start.startswith(b"[") else ("line", _objects(path))


def _objects(path: Path) -> Iterator[Any]:
    for line in _files.lines(path):
        try:
            yield json.loads(line) if line.strip() else _EMPTY
        except (ValueError, RecursionError) as error:
            yield BadRecord("text", f"not JSON: {error}")


def _array(path: Path) -> Iterator[Any]:
    number = 0
    try:
        with _files.opened(path) as file:
            if file.read(3) != _files.BOM:
                file.seek(0)
            for value in ijson.items(file, "item", use_float=True):
                yield value
                number += 1
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise CslmError(f"{path} is truncated or corrupted after entry {number} ({error}); fetch it again") from error


def _parquet(path: Path, columns: Collection[str] | None) -> Iterator[dict[str, Any]]:
    # Here and not above: pyarrow takes as long to import as a small JSON file to read.
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            chosen: Sequence[str] = file.schema_arrow.names
            if columns is not None:
                chosen = [column for column in chosen if column in columns]
            for batch in file.iter_batches(_PARQUET_ROWS, columns=chosen):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise CslmError(f"{path} is truncated or corrupted ({error}); fetch it again") from error
