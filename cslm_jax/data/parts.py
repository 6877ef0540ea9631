"""A corpus in parts of so many items, each of which becomes a shard, and what the part was that a shard was made from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cslm_jax.data.corpora import Item, Recording, Rejected, SpokenDialogueItem
from cslm_jax.data.text import texts


@dataclasses.dataclass(frozen=True)
class Part:
    """So many items of a corpus, in order."""

    number: int
    """Of the part and of its shard."""
    items: tuple[Item, ...] = dataclasses.field(repr=False)
    languages: tuple[str, ...]
    """The ones that there are tasks for; they decide which items are set aside."""

    @functools.cached_property
    def described(self) -> dict[str, Any]:
        """Stands in the shard's .json: a shard with another description was made from other items.

        Worked out when asked for: of many workers, each asks for its own parts only.
        """
        return {"count": len(self.items), "sha256": _sha256(self.items, self.languages)}


def parts(items: Iterable[Item], size: int, languages: Sequence[str]) -> Iterator[Part]:
    """The parts of a corpus."""
    rest = iter(items)
    for number in itertools.count():
        if not (members := tuple(itertools.islice(rest, size))):
            return
        yield Part(number, members, tuple(languages))


def _sha256(items: Iterable[Item], languages: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for item in items:
        spoken = _languages(item)
        used = [language in languages for language in spoken]
        digest.update(repr((item.id, getattr(item, "split", ""), spoken, used, tuple(texts(item)))).encode("utf-8", "replace"))
    return digest.hexdigest()


def _languages(item: Item) -> tuple[str, ...]:
    match item:
        case Recording():
            return (item.language,)
        case SpokenDialogueItem():
            return (*item.question, *item.answer)
        case Rejected():
            return ()
    return item.languages
