"""AISHELL-3 (OpenSLR 93): `path` is the folder with train/ and test/.

    {train,test}/content.txt                SSB00050001.wav <tab> 广 guang3 州 zhou1 女 nv3 大 da4 学 xue2 生 sheng1
    {train,test}/wav/SSB0005/SSB00050001.wav        44.1 kHz

Of the text, every other token is pinyin and dropped. There is no punctuation. test is validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording
from cslm_jax.data.corpora._layout import files, folders, paired, split_of, subset_folders
from cslm_jax.data.corpora._lines import by_id, rows
from cslm_jax.errors import BadRecord

SUBSETS = ("train", "test")


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = ()) -> Iterator[Item]:
    """The recordings by subset and name.

    Args:
        subsets: of train, test; all that are there by default.
    """

    def recording(id: str, text: str, sound: Path) -> Recording:
        characters, pinyin = text.split()[::2], text.split()[1::2]
        if len(characters) != len(pinyin) or not all(map(str.isascii, pinyin)):
            raise BadRecord("transcript", f"characters and pinyin do not alternate: {text[:60]!r}")
        return Recording(id, corpus.language, "".join(characters), sound, id[:7], split_of(sound.parents[2].name))

    for subset in subset_folders(corpus, subsets, SUBSETS):
        lines, rejected = by_id(rows(corpus, subset / "content.txt", 2, "\t"), subset / "content.txt")
        yield from rejected
        texts = {name.removesuffix(".wav"): text for name, text in lines.items()}
        sounds = {id: sound for speaker in folders(subset / "wav") for id, sound in files(speaker, ".wav").items()}
        yield from paired(texts, sounds, subset / "wav", recording)
