"""AISHELL-2: `path` is the folder of one channel, such as AISHELL-2/iOS, or iOS, Android or Mic of the published test sets.

    iOS/data/trans.txt      IC0001W0001 <tab> 厨房用品
    iOS/data/wav.scp        IC0001W0001 <tab> wav/C0001/IC0001W0001.wav
    iOS/dev/..., iOS/test/...       laid out the same; they come as a set of their own, whose channels may be moved here

Texts have no punctuation. dev and test are validation. Sound that wav.scp does not name is not looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording
from cslm_jax.data.corpora._layout import paired, split_of, subset_folders
from cslm_jax.data.corpora._lines import by_id, rows

SUBSETS = ("data", "train", "dev", "test")


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = ()) -> Iterator[Item]:
    """The recordings by subset and id; texts and names of a subset are in memory, 0.6 GB for the million of data.

    Args:
        subsets: of data, train (as some rename it), dev, test; all that are there by default.
    """
    for subset in subset_folders(corpus, subsets, SUBSETS):
        texts, no_texts = by_id(rows(corpus, subset / "trans.txt", 2), subset / "trans.txt")
        names, no_names = by_id(rows(corpus, subset / "wav.scp", 2), subset / "wav.scp")
        yield from no_texts
        yield from no_names
        split = split_of(subset.name)

        def recording(id: str, text: str, sound: Path, split=split) -> Recording:
            return Recording(id, corpus.language, text, sound, sound.parent.name, split)

        # No Path yet: a million of them would take a third more memory.
        yield from paired(texts, {id: f"{subset}/{name}" for id, name in names.items()}, subset / "wav.scp", recording)
