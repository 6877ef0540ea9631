"""A corpus in parts of so many items, each of which becomes a shard, and what the part was that a shard was made from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cslm_jax.data import corpora
from cslm_jax.data.corpora import Item, Recording, Segment


@dataclasses.dataclass(frozen=True)
class Part:
    """So many items of a corpus, in order."""

    number: int
    """Of the part and of its shard."""
    items: tuple[Item, ...] = dataclasses.field(repr=False)
    languages: tuple[str, ...]
    """The ones that there are tasks for; they decide which items are set aside."""
    folder: Path
    """Of the corpus: it may move, and the sound files in it with it."""

    @functools.cached_property
    def described(self) -> dict[str, Any]:
        """Stands in the shard's .json: a shard with another description was made from other items.

        Worked out when asked for: of many workers, each asks for its own parts only.
        """
        return {"count": len(self.items), "sha256": _sha256(self)}


def parts(items: Iterable[Item], size: int, languages: Sequence[str], path: str = "") -> Iterator[Part]:
    """The parts of a corpus.

    Args:
        path: of the corpus: its folder, or a file in it.
    """
    rest = iter(items)
    folder = Path(path).parent if Path(path).is_file() else Path(path)
    for number in itertools.count():
        if not (members := tuple(itertools.islice(rest, size))):
            return
        yield Part(number, members, tuple(languages), folder)


def _sha256(part: Part) -> str:
    digest = hashlib.sha256()
    for item in part.items:
        spoken = corpora.languages(item)
        used = [language in part.languages for language in spoken]
        said = (item.id, getattr(item, "split", ""), spoken, used, tuple(corpora.texts(item)))
        digest.update(repr(said).encode("utf-8", "replace"))
        for recording in corpora.recordings(item):
            if recording.file:  # sound that is made follows from its text, its id and the corpus's config
                digest.update(repr(_sound(recording, part.folder)).encode("utf-8", "replace"))
    return digest.hexdigest()


def _sound(recording: Recording, folder: Path) -> tuple[str, ...]:
    """Which sound it is, and whose: the file by its name below the corpus's folder, or by its own name if it lies elsewhere."""
    path = Path(recording.file)
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    match recording.audio:
        case Segment(_, start_s, end_s):
            return name, recording.speaker, repr(float(start_s)), repr(float(end_s))
    return name, recording.speaker
