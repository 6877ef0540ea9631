"""AISHELL-1 (OpenSLR 33): `path` is the folder data_aishell, with the archives of the speakers unpacked.

    data_aishell/transcript/aishell_transcript_v0.8.txt     BAC009S0002W0122 而 对 楼市 成交 抑制 作用 最 大 的 限 购
    data_aishell/wav/{train,dev,test}/S0002/BAC009S0002W0122.wav

The spaces between words are removed. Some 300 recordings have no transcript and are set aside. dev and test are validation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording
from cslm_jax.data.corpora._layout import files, folders, paired, split_of, subset_folders
from cslm_jax.data.corpora._lines import by_id, rows

SUBSETS = ("train", "dev", "test")


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = ()) -> Iterator[Item]:
    """The recordings by subset, speaker and number.

    Args:
        subsets: of train, dev, test; all that are there by default.
    """
    root = Path(corpus.path)
    transcript = root / "transcript" / "aishell_transcript_v0.8.txt"
    texts, rejected = by_id(rows(corpus, transcript, 2), transcript)
    yield from rejected
    by_speaker: dict[str, dict[str, str]] = defaultdict(dict)
    for id, text in texts.items():
        by_speaker[id[6:11]][id] = text.replace(" ", "")

    def recording(id: str, text: str, sound: Path) -> Recording:
        return Recording(id, corpus.language, text, sound, sound.parent.name, split_of(sound.parents[1].name))

    for speaker in (speaker for subset in subset_folders(corpus, subsets, SUBSETS, "wav") for speaker in folders(subset)):
        yield from paired(by_speaker[speaker.name], files(speaker, ".wav"), speaker, recording)
