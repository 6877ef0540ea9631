"""WenetSpeech4TTS: `path` is the folder of the unpacked archives.

    Premium/WenetSpeech4TTS_Premium_0/wavs/X0000015306_83500032_S00110-S00112.wav
    Premium/WenetSpeech4TTS_Premium_0/txts/X0000015306_83500032_S00110-S00112.txt     two lines: name <tab> text; timestamps
    Standard/..., Basic/..., Rest/...       each without what is in the ones before it

Texts have punctuation. Who speaks is not published. Nothing is published as held out: `validation` is the share of long
recordings (X0000015306_83500032) that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording
from cslm_jax.data.corpora._layout import files, folders, held_out, paired, subset_folders
from cslm_jax.data.corpora._lines import text_of
from cslm_jax.errors import BadRecord

SUBSETS = ("Premium", "Standard", "Basic", "Rest")


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = (), validation: float = 0.0) -> Iterator[Item]:
    """The recordings by subset, archive and name.

    Args:
        subsets: of Premium, Standard, Basic, Rest; all that are there by default.
        validation: share of the long recordings that is held out.
    """

    def recording(id: str, text: Path, sound: Path) -> Recording:
        first = text_of(text).partition("\n")[0]
        name, tab, said = first.partition("\t")
        if not tab or name.strip() != id:
            raise BadRecord("transcript", f"{text}: the first line must be {id}, a tab and the text; it is {first[:60]!r}")
        return Recording(id, corpus.language, said.strip(), sound, "", held_out(id.rpartition("_")[0], validation))

    for subset in subset_folders(corpus, subsets, SUBSETS):
        for archive in folders(subset):
            yield from paired(files(archive / "txts", ".txt"), files(archive / "wavs", ".wav"), archive / "wavs", recording)
