"""Corpora: small readers that turn a published layout into items, and the registry that names them.

A reader is a function from a CorpusConfig to an iterator of items; it reads transcripts and leaves the sound for later,
so it may run over a large corpus often. Each module of this folder is one, named like the module; one of your own is
`reader="my_package.my_module:read"`. Its keyword arguments are the corpus's `options`. Something that cannot be read is
yielded as Rejected, and everything else goes on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from cslm_jax.data.catalogue import nearest
from cslm_jax.data.corpora._ids import Ids
from cslm_jax.data.corpora._items import (
    Item,
    Postponed,
    Recording,
    Rejected,
    Segment,
    Sound,
    SpokenDialogueItem,
    WrittenDialogue,
    languages,
    recordings,
    texts,
)
from cslm_jax.data.record_fields import check_id, check_writable
from cslm_jax.data.speak.config import SpeakConfig
from cslm_jax.errors import BadRecord, CslmError

__all__ = [
    "READERS", "CorpusConfig", "Item", "Postponed", "Reader", "Recording", "Rejected", "Segment", "Sound", "SpokenDialogueItem",
    "WrittenDialogue", "find_reader", "languages", "read", "recordings", "texts",
]  # fmt: skip

READERS: dict[str, str] = {
    module.name: f"{__name__}.{module.name}:read" for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
}
"""Readers by name, as module:function."""


@dataclasses.dataclass(frozen=True)
class CorpusConfig:
    """One corpus: how it is read and what it is used for."""

    name: str
    """Folder of its records below data.records."""
    reader: str
    """A name from READERS, or module:function of your own."""
    path: str = ""
    """Where the corpus lies."""
    language: str = "en"
    """Of recordings that do not say it themselves."""
    use: tuple[str, ...] = ()
    """Families of tasks that may read it: asr, tts, mt, text, s2s, s2s_mono, s2s_cross; empty for all that can."""
    share: Literal["all", "one"] = "all"
    """all: each item serves every use; one: each item serves one of them (paper: half ASR, half TTS)."""
    limit: int = 0
    """Most items that are read; 0 for all."""
    seed: int = 0
    """For corpora that are generated."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keyword arguments of the reader, such as which published subsets are read; its docstring lists them."""
    speak: SpeakConfig | None = None
    """Translates and speaks text dialogues; None leaves them text."""

    def __post_init__(self):
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise ValueError(f"corpus name is {self.name!r}; it becomes a folder, so give it a plain name")
        if self.share not in ("all", "one"):
            raise ValueError(f"corpora.{self.name}.share is {self.share!r}; choose all or one")
        known = ("asr", "tts", "mt", "text", "s2s", "s2s_mono", "s2s_cross")
        for use in self.use:
            if use not in known:
                raise ValueError(f"corpora.{self.name}.use has {use!r}.{nearest(use, known)}")

    def uses_of(self, id: str) -> tuple[str, ...]:
        """Which uses an item serves."""
        if self.share == "all" or not self.use:
            return self.use
        draw = int.from_bytes(hashlib.sha256(f"{self.name} {id}".encode()).digest()[:8], "little")
        return (self.use[draw % len(self.use)],)


Reader = Callable[..., Iterator[Item]]
"""Called with the CorpusConfig, and its options as keyword arguments."""


def read(corpus: CorpusConfig) -> Iterator[Item]:
    """The items of a corpus, in an order that never changes.

    Raises:
        CslmError: no such reader, no such option of it, or no such corpus at its path.
    """
    reader = find_reader(corpus.reader)
    _check_options(corpus, reader)
    for i, item in enumerate(_usable(reader(corpus, **corpus.options))):
        if corpus.limit and i >= corpus.limit:
            return
        yield item


def _usable(items: Iterator[Item]) -> Iterator[Item]:
    """Rejects what no later step could name or write: an id that is no line of text, or was there already (records are found
    by their ids), and texts with half a character."""
    ids = Ids()
    for item in items:
        if isinstance(item, Rejected):
            yield item
            continue
        try:
            check_id(item.id)
            for text in texts(item):
                check_writable("text", text)
            if not ids.add(item.id):
                raise BadRecord("record", f"a second record with the id {item.id}")
        except BadRecord as error:
            spoken = recordings(item)
            yield Rejected(str(item.id), spoken[0].file if spoken else "", error.stage, error.reason)
        else:
            yield item


def find_reader(name: str) -> Reader:
    target = READERS.get(name, name)
    module, _, function = target.partition(":")
    if not function:
        raise CslmError(f"no reader {name!r}.{nearest(name, READERS)}, or write module:function of your own")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise CslmError(f"reader {name!r} cannot be imported: {error}") from error


def _check_options(corpus: CorpusConfig, reader: Reader) -> None:
    known = list(inspect.signature(reader).parameters)[1:]
    for option in corpus.options:
        if option not in known:
            what = f"{nearest(option, known)}" if known else " It has none"
            raise CslmError(f"corpora.{corpus.name}.options: the reader {corpus.reader!r} has no option {option!r}.{what}")
