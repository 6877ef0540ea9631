"""LibriTTS and LibriTTS-R (OpenSLR 60 and 141): `path` is the folder LibriTTS or LibriTTS_R.

    LibriTTS/train-clean-100/103/1241/103_1241_000000_000001.wav                  24 kHz
    LibriTTS/train-clean-100/103/1241/103_1241_000000_000001.normalized.txt       numbers and abbreviations in words
    LibriTTS/train-clean-100/103/1241/103_1241_000000_000001.original.txt         as in the book

Texts have case and punctuation. dev-* and test-* are validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording
from cslm_jax.data.corpora._layout import chosen, files, folders, paired, split_of, subset_folders
from cslm_jax.data.corpora._lines import text_of
from cslm_jax.data.corpora.librispeech import SUBSETS


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = (), text: str = "normalized") -> Iterator[Item]:
    """The recordings by subset, speaker, chapter and number.

    Args:
        subsets: such as train-clean-100; all that are there by default.
        text: normalized or original.
    """
    chosen(corpus, "text", text, ("normalized", "original"))

    def recording(id: str, file: Path, sound: Path) -> Recording:
        split = split_of(sound.parents[2].name)
        return Recording(id, corpus.language, text_of(file), sound, sound.parents[1].name, split)

    for subset in subset_folders(corpus, subsets, SUBSETS):
        for chapter in (chapter for speaker in folders(subset) for chapter in folders(speaker)):
            yield from paired(files(chapter, f".{text}.txt"), files(chapter, ".wav"), chapter, recording)
