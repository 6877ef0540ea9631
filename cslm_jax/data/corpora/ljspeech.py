"""LJ Speech: `path` is the folder LJSpeech-1.1.

    metadata.csv            LJ001-0007|the earliest book printed ..., of about 1455,|... of about fourteen fifty-five,
    wavs/LJ001-0007.wav     22.05 kHz, one speaker

Bars part the columns; quotation marks are part of the text and quote nothing. Nothing is published as held out:
`validation` is the share of recordings that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected
from cslm_jax.data.corpora._layout import chosen, files, held_out, paired, subset_folders
from cslm_jax.data.corpora._lines import by_id, rows

_COLUMNS = ("id", "raw", "normalized")


def read(corpus: CorpusConfig, *, text: str = "normalized", validation: float = 0.0) -> Iterator[Item]:
    """The recordings by id.

    Args:
        text: normalized (numbers and abbreviations in words) or raw.
        validation: share of the recordings that is held out.
    """
    chosen(corpus, "text", text, _COLUMNS[1:])
    table, column = Path(corpus.path) / "metadata.csv", _COLUMNS.index(text)
    lines = rows(corpus, table, len(_COLUMNS), "|")
    texts, rejected = by_id((row if isinstance(row, Rejected) else [row[0], row[column]] for row in lines), table)
    yield from rejected

    def recording(id: str, text: str, sound: Path) -> Recording:
        return Recording(id, corpus.language, text, sound, "LJ", held_out(id, validation))

    (sounds,) = subset_folders(corpus, (), ("wavs",))
    yield from paired(texts, files(sounds, ".wav"), sounds, recording)
