"""GigaSpeech: `path` is the folder with GigaSpeech.json and audio/.

    GigaSpeech.json     {"audios": [{"aid": ..., "path": "audio/podcast/P0001/POD0000000001.opus", "segments": [
                            {"sid": "POD0000000001_S0000008", "speaker": "N/A", "begin_time": 159.0, "end_time": 167.52,
                             "text_tn": "DOUGLAS MCGRAY IS GOING TO BE OUR GUIDE <COMMA> ...", "subsets": ["{XL}"]}]}]}
    audio/{audiobook,podcast,youtube}/.../*.opus        hours each; only the segments are decoded

Texts are in capitals; the four marks <COMMA>, <PERIOD>, <QUESTIONMARK> and <EXCLAMATIONPOINT> become punctuation. Segments
of <SIL>, <MUSIC>, <NOISE> or <OTHER> are no speech and set aside. DEV and TEST are validation. XL holds L, which holds M,
and so on down to XS.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import get_args

from cslm_jax.data.corpora import CorpusConfig, Item
from cslm_jax.data.corpora._case import Case, cased
from cslm_jax.data.corpora._layout import chosen
from cslm_jax.data.corpora._long_audio import Fields, recordings, said
from cslm_jax.errors import BadRecord

SUBSETS = ("XS", "S", "M", "L", "XL", "DEV", "TEST")
_MARKS = {"COMMA": ",", "PERIOD": ".", "QUESTIONMARK": "?", "EXCLAMATIONPOINT": "!"}
_MARK = re.compile(r"\s*<(" + "|".join(_MARKS) + ")>")
_GARBAGE = re.compile(r"<(SIL|MUSIC|NOISE|OTHER)>")


def read(corpus: CorpusConfig, *, subsets: Sequence[str] = ("XL", "DEV", "TEST"), case: Case = "published") -> Iterator[Item]:
    """The segments in the order of GigaSpeech.json.

    Args:
        subsets: a segment is read if it is in any of these.
        case: published (capitals), lower or sentence.
    """
    chosen(corpus, "case", case, get_args(Case))
    wanted = chosen(corpus, "subsets", subsets, SUBSETS)
    return recordings(corpus, "GigaSpeech.json", wanted, functools.partial(_text, case=case))


def _text(segment: Fields, case: Case) -> str:
    text = said(segment, "text_tn")
    if garbage := _GARBAGE.search(text):
        raise BadRecord("transcript", f"no speech: {garbage[0]}")
    return cased(_MARK.sub(lambda mark: _MARKS[mark[1]], text).strip(), case)
