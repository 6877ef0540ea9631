"""Folders of record shards: what is in them, without reading a record.

Below records/<corpus>/ lie::

    recipe.json                    how the corpus was read
    00007.json                     what shard 7 holds; written last
    00007.utterance.arrayrecord    its records, one file a kind
    00007.rejected.jsonl           what was set aside, with the reason
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cslm_jax.data import files
from cslm_jax.data.catalogue import RecordKind

_FIELDS = {"records", "rejected", "seconds", "units", "characters"}


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard of a corpus; finished when its .json is there."""

    path: Path
    """Its .json file."""
    content: dict[str, Any]
    """records: {kind: {count, sha256}}; rejected, seconds, units and characters; and what `cslm prepare` notes: tokenizer,
    aligners, items, text_tokens and retry."""

    @property
    def number(self) -> int:
        return int(self.path.stem)

    @property
    def rejected(self) -> Path:
        return self.path.with_suffix(".rejected.jsonl")

    @property
    def remedy(self) -> str:
        """What to do if one of its files is damaged."""
        return _remedy(self.path)

    def file(self, kind: RecordKind) -> Path:
        return self.path.with_suffix(f".{kind}.arrayrecord")

    def begin(self) -> None:
        """Before its files are made anew: it is no longer finished, and what a killed process left of it goes."""
        self.path.unlink(missing_ok=True)
        files.clear_leftovers(self.path.parent, self.path.stem)

    def keep_only(self, kinds: Iterable[RecordKind]) -> None:
        """Deletes files of other kinds, from when it was made of other items."""
        kept = {self.path, self.rejected, *map(self.file, kinds)}
        for path in self.path.parent.glob(f"{self.path.stem}.*"):
            if path not in kept:
                path.unlink()

    def count(self, kind: RecordKind) -> int:
        return self.content["records"].get(kind, {"count": 0})["count"]


def _remedy(path: Path) -> str:
    return f"delete the files {path.with_suffix('.*')} and run `cslm prepare` again, which makes this shard anew"


def of_corpus(directory: Path) -> Iterator[Shard]:
    """The finished shards of one corpus, in order.

    Raises:
        CslmError: the .json of a shard is damaged; the message names it.
    """
    for path in sorted(directory.glob("[0-9]*.json")):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # another worker is making it anew
        yield Shard(path, _read(path, status.st_mtime_ns, status.st_size, status.st_ino))


@functools.lru_cache(maxsize=1 << 16)
def _read(path: Path, *version: int) -> dict[str, Any]:
    """What a .json says. Every task asks for thousands of them: they are read once, as long as they are the same files."""
    content = files.read_json(path, _remedy(path))
    if not isinstance(content, dict) or not _FIELDS <= set(content):
        raise files.damaged(path, "fields are missing", _remedy(path))
    return content


def finished(records: Path) -> Iterator[Shard]:
    """All finished shards of all corpora, in a fixed order."""
    for directory in sorted(path for path in records.glob("*") if path.is_dir()):
        yield from of_corpus(directory)


def fingerprint(records: Path, kinds: Sequence[RecordKind]) -> str | None:
    """Identifies all records of these kinds by their content; None where there is no folder of records."""
    if not records.is_dir():
        return None
    digest = hashlib.sha256()
    for shard in finished(records):
        for kind in kinds:
            if kind in shard.content["records"]:
                digest.update(repr((shard.path.parent.name, kind, shard.content["records"][kind])).encode())
    return digest.hexdigest()
