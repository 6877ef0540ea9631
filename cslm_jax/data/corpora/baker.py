"""Baker, the Chinese Standard Mandarin Speech Corpus (CSMSC): `path` is the folder BZNSYP.

    ProsodyLabeling/000001-010000.txt       000001 <tab> 卡尔普#2陪外孙#1玩滑梯#4。
                                            <tab> ka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1
    Wave/000001.wav                         48 kHz, one speaker

The marks #1 to #4 of prosody, and the lines of pinyin behind the texts, are dropped. Texts have punctuation. Nothing is
published as held out: `validation` is the share of recordings that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cslm_jax.data.corpora import CorpusConfig, Item, Recording, Rejected
from cslm_jax.data.corpora._layout import files, held_out, paired, subset_folders
from cslm_jax.data.corpora._lines import broken, by_id, lines

_MARK = re.compile(r"#[1-5]")
_LINE = re.compile(r"(\d{6})\s+(\S.*)")


def read(corpus: CorpusConfig, *, validation: float = 0.0, encoding: str = "utf-8") -> Iterator[Item]:
    """The recordings by number.

    Args:
        validation: share of the recordings that is held out.
        encoding: of the text file; copies in gb18030 exist.
    """
    labels = Path(corpus.path) / "ProsodyLabeling" / "000001-010000.txt"
    texts, rejected = by_id(_texts(corpus, labels, encoding), labels)
    yield from rejected

    def recording(id: str, text: str, sound: Path) -> Recording:
        return Recording(id, corpus.language, text, sound, "baker", held_out(id, validation))

    (sounds,) = subset_folders(corpus, (), ("Wave",))
    yield from paired(texts, files(sounds, ".wav"), sounds, recording)


def _texts(corpus: CorpusConfig, labels: Path, encoding: str) -> Iterator[list[str] | Rejected]:
    for line in lines(corpus, labels, encoding):
        if isinstance(line, Rejected):
            yield line
        elif match := _LINE.fullmatch(line[1]):
            yield [match[1], _MARK.sub("", match[2]).strip()]
        elif not line[1].startswith(("\t", " ")):
            yield broken(labels, line[0], f"neither a number and a text nor pinyin: {line[1][:60]!r}")
