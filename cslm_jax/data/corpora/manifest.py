"""Any recordings with a table: manifest.tsv or manifest.jsonl in the folder `path`, or a file of any name.

    file        sound file, absolute or relative to the table (.wav, .flac, .mp3, .ogg, .opus)
    text        what is said
    id          by default the file, and the times of a segment
    start, end  seconds: a segment of a long file, of which no more is read
    language, speaker, split        by default the corpus's, none, and train

file and text are needed. In a .tsv the first line names the columns, tabs part them and nothing is quoted; a .jsonl has one
object a line with these fields. A BOM and CRLF are fine. A line that cannot be read is rejected with its number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cslm_jax.data.catalogue import nearest
from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected
from cslm_jax.data.corpora._layout import segment
from cslm_jax.data.corpora._lines import broken, lines
from cslm_jax.errors import BadRecord, CslmError

Fields = Mapping[str, Any]
FIELDS = ("file", "text", "id", "start", "end", "language", "speaker", "split")


def read(corpus: CorpusConfig, *, encoding: str = "utf-8") -> Iterator[Item]:
    """The recordings of a manifest, in its order.

    Args:
        encoding: of the table, e.g. gb18030.

    Raises:
        CslmError: no table, one without the columns file and text, or no such encoding.
    """
    path = _table(Path(corpus.path))
    rest = lines(corpus, path, encoding)
    parse = _object if path.suffix == ".jsonl" else _row_parser(path, next(rest, None))
    for line in rest:
        if isinstance(line, Rejected):
            yield line
            continue
        try:
            yield _recording(parse(line[1]), path, corpus)
        except BadRecord as error:
            yield broken(path, line[0], error.reason)


def _table(path: Path) -> Path:
    if not path.is_dir():
        return path
    return path / ("manifest.jsonl" if (path / "manifest.jsonl").is_file() else "manifest.tsv")


def _row_parser(path: Path, header: tuple[int, str] | Rejected | None) -> Callable[[str], Fields]:
    """From a line of a .tsv to its fields, which the first line names."""
    names = header[1].strip().split("\t") if isinstance(header, tuple) else []
    if not {"file", "text"} <= set(names):
        raise CslmError(f"{path}: the first line must name the columns; file and text are needed, found {names}")
    if unknown := set(names) - set(FIELDS):
        raise CslmError(f"{path}: unknown column {', '.join(sorted(unknown))}; known are {', '.join(FIELDS)}")

    def parse(line: str) -> Fields:
        cells = line.split("\t")
        if len(cells) != len(names):
            raise BadRecord("transcript", f"{len(cells)} columns in place of {len(names)}")
        return dict(zip(names, map(str.strip, cells), strict=True))

    return parse


def _object(line: str) -> Fields:
    """A line of a .jsonl as fields."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRecord("transcript", f"no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRecord("transcript", f"{type(fields).__name__} in place of an object with the fields file and text")
    for name, value in fields.items():
        if name not in FIELDS:
            raise BadRecord("transcript", f"unknown field `{name}`.{nearest(name, FIELDS)}")
        if name not in ("start", "end") and not isinstance(value, str):
            raise BadRecord("transcript", f"field `{name}` is {value!r}; it must be text")
    if "text" not in fields:
        raise BadRecord("transcript", "field `text` is missing")
    return fields


def _recording(fields: Fields, path: Path, corpus: CorpusConfig) -> Recording:
    if not fields.get("file"):
        raise BadRecord("transcript", "field `file` is empty")
    sound, id = path.parent / fields["file"], fields.get("id") or fields["file"]
    start, end = (None if fields.get(name) == "" else fields.get(name) for name in ("start", "end"))
    if start is not None or end is not None:
        sound = segment(sound, start, end)
        id = fields.get("id") or f"{fields['file']}:{sound.start_s}-{sound.end_s}"
    language, split = fields.get("language") or corpus.language, fields.get("split") or "train"
    return Recording(id, language, fields["text"], sound, fields.get("speaker", ""), split)
