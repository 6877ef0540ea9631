"""A text cut into pieces with their times (paper section 3).

The paper leaves open how its chunks are made in detail; decided here, each with a golden test:

* **Where the text is cut.** After punctuation and the closing quotes behind it; the space goes with the
  next piece, as text pieces of a vocabulary carry it. ASCII punctuation cuts only before a space or the
  end, so never inside "3.5" or "e.g".
* **No punctuation.** A piece of more than LONGEST chunk sizes is cut at the widest silence that leaves a
  chunk on either side.
* **Short tail.** Fewer words than a chunk at the end join the piece before them.
* **Where the sound is cut.** In the middle of the gap between two words, after `pauses.part_at_pauses` has shrunk the
  gap to its quietest stretch: CTC labels are peaks, and the middle between two may lie inside a word. The first
  piece begins with the recording and the last one ends with it, so that the pieces share no frame and lose none.
  Cutting comes before merging: each piece's units are merged by themselves (`Speech.cut`).
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

from cslm_jax.speech.align import Word

LONGEST = 3
"""A piece of more words than this many chunk sizes is cut although it holds no punctuation."""

_CLOSING = "\"'”’»)\\]}」』）】》〉"
_WIDE, _ASCII = "，。！？；：、…—", ".,!?;:"
_CLOSED = re.compile(rf"[{_CLOSING}]*")
_CUT = re.compile(rf"[{_CLOSING}]*(?:[{_WIDE}]|[{_ASCII}](?=[{_ASCII}{_CLOSING}]*(?:\s|$)))[{_WIDE}{_ASCII}{_CLOSING}]*")


@dataclasses.dataclass(frozen=True)
class Piece:
    """A piece of a text and the span of time in which it is spoken (seconds)."""

    text: str
    start_s: float
    end_s: float


def chunk(text: str, words: Sequence[Word], chunk_size: int, seconds: float) -> list[Piece]:
    """A text cut into pieces of at least `chunk_size` words; the pieces' texts join to exactly `text`.

    Args:
        words: the words of `text` in order, from `align`.
        chunk_size: fewest words of a piece (7 in the paper); only a shorter text makes a shorter piece.
        seconds: length of the recording.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1 word, got {chunk_size}")
    firsts = _split_long(_cut_at_punctuation(text, words, chunk_size), words, chunk_size)
    chars = [0, *(_cut_char(text, words, i) for i in firsts), len(text)]
    times = [0.0, *((words[i - 1].end_s + words[i].start_s) / 2 for i in firsts), float(seconds)]
    return [
        Piece(text[start:end], *span)
        for (start, end), span in zip(itertools.pairwise(chars), itertools.pairwise(times), strict=True)
    ]


def _cut_at_punctuation(text: str, words: Sequence[Word], chunk_size: int) -> list[int]:
    """Words that begin a new piece, the text being cut at punctuation only."""
    firsts, start = [], 0
    for i in range(1, len(words)):
        punctuated = _CUT.match(text, words[i - 1].end_char, words[i].start_char + 1)
        if punctuated and i - start >= chunk_size and len(words) - i >= chunk_size:
            firsts.append(i)
            start = i
    return firsts


def _split_long(firsts: Sequence[int], words: Sequence[Word], chunk_size: int) -> list[int]:
    """Splits pieces that are too long where the speaker pauses longest, until none is."""
    bounds, out = [0, *firsts, len(words)], []
    while len(bounds) > 1:
        start, end = bounds[0], bounds[1]
        if end - start > LONGEST * chunk_size:
            inside = range(start + chunk_size, end - chunk_size + 1)
            bounds.insert(1, max(inside, key=lambda i: words[i].start_s - words[i - 1].end_s))
        else:
            out.append(bounds.pop(0))
    return out[1:]


def _cut_char(text: str, words: Sequence[Word], i: int) -> int:
    """Character at which the piece that begins with word i begins."""
    end = words[i - 1].end_char
    return (_CUT.match(text, end, words[i].start_char + 1) or _CLOSED.match(text, end)).end()
