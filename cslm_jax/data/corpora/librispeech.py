"""LibriSpeech (OpenSLR 12), and what is laid out like it: `path` is the folder LibriSpeech.

    LibriSpeech/train-clean-100/103/1240/103-1240.trans.txt         103-1240-0000 CHAPTER ONE MISSUS RACHEL LYNDE IS ...
    LibriSpeech/train-clean-100/103/1240/103-1240-0000.flac

Texts are in capitals without punctuation. dev-* and test-* are validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from cslm_jax.data.corpora import CorpusConfig, Item, Recording
from cslm_jax.data.corpora._case import Case, cased
from cslm_jax.data.corpora._layout import SUFFIXES, chosen, files, folders, paired, split_of, subset_folders
from cslm_jax.data.corpora._lines import by_id, rows

SUBSETS = ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other", "test-clean", "test-other")


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = (), case: Case = "published") -> Iterator[Item]:
    """The recordings by subset, speaker, chapter and number.

    Args:
        subsets: such as train-clean-100; all that are there by default.
        case: published (capitals), lower or sentence.
    """
    chosen(corpus, "case", case, get_args(Case))

    def recording(id: str, text: str, sound: Path) -> Recording:
        split = split_of(sound.parents[2].name)
        return Recording(id, corpus.language, cased(text, case), sound, sound.parents[1].name, split)

    for subset in subset_folders(corpus, subsets, SUBSETS):
        for chapter in (chapter for speaker in folders(subset) for chapter in folders(speaker)):
            transcript = chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"
            texts, rejected = by_id(rows(corpus, transcript, 2) if transcript.is_file() else (), transcript)
            yield from rejected
            yield from paired(texts, files(chapter, *SUFFIXES), chapter, recording)
