"""WenetSpeech: `path` is the folder with WenetSpeech.json and audio/.

    WenetSpeech.json    {"audios": [{"aid": ..., "path": "audio/train/youtube/B00000/Y0000000000_--5llN02F84.opus",
                            "segments": [{"sid": "Y0000000000_--5llN02F84_S00000", "begin_time": 20.08, "end_time": 24.4,
                            "confidence": 1.0, "subsets": ["L"], "text": "怎么样这些日子住得还习惯吧"}]}]}
    audio/{train,dev,test_net,test_meeting}/.../*.opus      long recordings; only the segments are decoded

Texts have no punctuation. L (confidence of at least 0.95) holds M, and M holds S; W is the weakly labelled rest with a
confidence of 0.6 and more. DEV, TEST_NET and TEST_MEETING are validation.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from cslm_jax.data.corpora import CorpusConfig, Item
from cslm_jax.data.corpora._layout import chosen
from cslm_jax.data.corpora._long_audio import Fields, recordings, said
from cslm_jax.errors import BadRecord

SUBSETS = ("S", "M", "L", "W", "DEV", "TEST_NET", "TEST_MEETING")


def read(
    corpus: CorpusConfig,
    *,
    subsets: Sequence[str] = ("L", "DEV", "TEST_NET", "TEST_MEETING"),
    min_confidence: float = 0.0,
) -> Iterator[Item]:
    """The segments in the order of WenetSpeech.json.

    Args:
        subsets: a segment is read if it is in any of these.
        min_confidence: segments whose label is less certain are left out, as are other subsets, e.g. 0.98 of L or 0.8 of W.
    """
    wanted = chosen(corpus, "subsets", subsets, SUBSETS)
    certain = lambda segment: _confidence(segment) >= min_confidence
    return recordings(corpus, "WenetSpeech.json", wanted, functools.partial(said, name="text"), certain)


def _confidence(segment: Fields) -> float:
    value = segment.get("confidence", 1.0)
    if not isinstance(value, int | float):
        raise BadRecord("transcript", f"field `confidence` is {value!r}; it must be a number")
    return value
