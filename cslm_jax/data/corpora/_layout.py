"""Folders of published corpora: subsets, sound files beside their texts, and what is held out."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cslm_jax.data.catalogue import nearest
from cslm_jax.data.config import Split
from cslm_jax.data.corpora import CorpusConfig, Item, Rejected, Segment
from cslm_jax.errors import BadRecord, CslmError

SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")
"""Of sound files, the better ones first."""

Text = TypeVar("Text")


def chosen(corpus: CorpusConfig, option: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The names that an option gives, one or several; CslmError for one that is not known."""
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in known:
            raise CslmError(f"corpora.{corpus.name}.options.{option}: there is no {name!r}.{nearest(name, known)}")
    return names


def subset_folders(corpus: CorpusConfig, names: Sequence[str], known: Sequence[str], below: str = "") -> list[Path]:
    """Folders of the subsets that are asked for; without any, of all that are there.

    Args:
        below: the folder of the corpus that they lie in, if not its root.

    Raises:
        CslmError: one that is asked for is unknown or not there, or none is there.
    """
    root, asked = Path(corpus.path) / below, chosen(corpus, "subsets", names, known)
    found = [name for name in asked or known if (root / name).is_dir()]
    if missing := [name for name in asked if name not in found]:
        raise CslmError(f"corpora.{corpus.name}.path: {root} has no folder {', '.join(missing)}")
    if not found:
        raise CslmError(f"corpora.{corpus.name}.path: {root} has none of the folders {', '.join(known)}")
    return [root / name for name in found]


def split_of(subset: str) -> Split:
    """Published development and test sets are held out."""
    return "validation" if subset.lower().startswith(("dev", "test")) else "train"


def held_out(key: str, share: float) -> Split:
    """The side of a recording in corpora that publish no split: about that share of the keys is held out."""
    draw = int.from_bytes(hashlib.sha256(f"held out {key}".encode()).digest()[:8], "little")
    return "validation" if draw < share * 2**64 else "train"


def folders(folder: Path) -> list[Path]:
    """Folders in a folder, by name; none where it does not exist."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir())


def files(folder: Path, *endings: str) -> dict[str, Path]:
    """Files of a folder by their names without the ending, sorted; none where it does not exist.

    Of two files with one name, the one whose ending comes first counts.
    """
    names = os.listdir(folder) if folder.is_dir() else []
    found = {name.removesuffix(ending): folder / name for ending in reversed(endings) for name in names if name.endswith(ending)}
    return dict(sorted(found.items()))


def paired(
    texts: Mapping[str, Text], sounds: Mapping[str, Path | str], folder: Path, make: Callable[[str, Text, Path], Item]
) -> Iterator[Item]:
    """`make(id, text, sound)` in the order of ids; a text without sound and a sound without text are rejected.

    Args:
        folder: named where a sound is missing.
        make: may raise BadRecord.
    """
    for id in sorted({*texts, *sounds}):
        if id not in sounds:
            yield Rejected(id, str(folder), "audio", f"has a transcript and no sound file in {folder}")
        elif id not in texts:
            yield Rejected(id, str(sounds[id]), "transcript", f"{sounds[id]} has no transcript")
        else:
            try:
                yield make(id, texts[id], Path(sounds[id]))
            except BadRecord as error:
                yield Rejected(id, str(sounds[id]), error.stage, error.reason)


def segment(path: Path, start: object, end: object, names: tuple[str, str] = ("start", "end")) -> Segment:
    """A stretch of a file; BadRecord (stage "transcript") naming the field, where the times (seconds) cannot be that."""
    times = []
    for name, value in zip(names, (start, end), strict=True):
        try:
            times.append(float(value))
        except (TypeError, ValueError):
            raise BadRecord("transcript", f"field `{name}` is {value!r}; it must be seconds") from None
        if not (math.isfinite(times[-1]) and times[-1] >= 0):
            raise BadRecord("transcript", f"field `{name}` is {value!r}; it must be seconds from the start of the file")
    if not times[0] < times[1]:
        raise BadRecord("transcript", f"field `{names[1]}` is {times[1]}, not behind field `{names[0]}`, {times[0]}")
    return Segment(path, *times)
