"""Where a text and its sound are cut: a golden test for each point that the paper leaves open."""

import itertools

import numpy as np
import pytest

from cslm_jax.speech.align import Word, words
from cslm_jax.speech.chunks import LONGEST, Piece, chunk
from cslm_jax.speech.units import Speech


def evenly(text: str, language: str = "en", pauses: dict[int, float] | None = None) -> tuple[list[Word], float]:
    """One second a word, half a second between two; `pauses` lengthens the gap before a word. And the length."""
    out, now = [], 1.0
    for i, (start, end) in enumerate(words(text, language)):
        now += (pauses or {}).get(i, 0.0)
        out.append(Word(start, end, now, now + 1.0))
        now += 1.5
    return out, now + 0.5


def texts(text: str, chunk_size: int, language: str = "en", pauses: dict[int, float] | None = None) -> list[str]:
    spoken, seconds = evenly(text, language, pauses)
    pieces = chunk(text, spoken, chunk_size, seconds)
    assert "".join(piece.text for piece in pieces) == text
    assert pieces[0].start_s == 0 and pieces[-1].end_s == seconds
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(pieces))
    return [piece.text for piece in pieces]


def test_cut_at_punctuation_unless_the_piece_would_be_short():
    text = "one, two three four, five. six seven eight nine."
    assert texts(text, 4) == ["one, two three four,", " five. six seven eight nine."]
    assert texts(text, 2) == ["one, two three four,", " five. six seven eight nine."]
    assert texts("one, two three four, five.", 1) == ["one,", " two three four,", " five."]
    assert texts(text, 7) == [text]


def test_chinese_counts_every_character():
    text = "今天天气很好，我们去公园玩吧。好！"
    assert texts(text, 6, "zh") == ["今天天气很好，", "我们去公园玩吧。好！"]


def test_a_short_tail_joins_the_piece_before():
    assert texts("a b c d, e f.", 3) == ["a b c d, e f."]
    assert texts("a b c d, e f g.", 3) == ["a b c d,", " e f g."]


def test_closing_quotes_stay_with_what_they_close():
    assert texts('He said "no way." Then "we left", he said.', 3) == ['He said "no way."', ' Then "we left", he said.']
    assert texts("他说：“你好吗？”我说：“很好。”", 4, "zh") == ["他说：“你好吗？”", "我说：“很好。”"]


def test_dots_inside_numbers_and_abbreviations_do_not_cut():
    assert texts("is 3.5 or 1,000 i.e", 2) == ["is 3.5 or 1,000 i.e"]


def test_no_punctuation_is_cut_at_the_widest_pause():
    count = LONGEST * 4 + 1
    text = " ".join("w" * count)
    assert texts(" ".join("w" * (count - 1)), 4) == [" ".join("w" * (count - 1))]
    first, second = texts(text, 4, pauses={6: 0.2, 1: 5.0})
    assert len(first.split()) == 6, "the pause before word 1 would leave a piece below the chunk size"
    assert second.startswith(" ")


def test_very_long_text_without_punctuation_ends_in_bounded_pieces():
    pieces = texts("字" * 200, 7, "zh")
    assert all(7 <= len(piece) <= LONGEST * 7 for piece in pieces)


def test_the_gap_is_cut_in_its_middle_and_units_are_merged_after_cutting():
    text = "aa bb, cc dd"
    spoken = [Word(0, 2, 0.04, 0.08), Word(3, 5, 0.08, 0.12), Word(7, 9, 0.20, 0.24), Word(10, 12, 0.24, 0.28)]
    pieces = chunk(text, spoken, 2, seconds=0.32)
    assert [piece.text for piece in pieces] == ["aa bb,", " cc dd"]
    assert [(piece.start_s, piece.end_s) for piece in pieces] == [(0.0, 0.16), (0.16, 0.32)]
    speech = Speech.from_frames(np.array([5, 5, 6, 6, 6, 6, 7, 7]))
    parts = [speech.cut(piece.start_s, piece.end_s) for piece in pieces]
    assert [part.units.tolist() for part in parts] == [[5, 6], [6, 7]]
    assert np.concatenate([part.frames for part in parts]).tolist() == speech.frames.tolist()


def test_text_without_words_is_one_piece_of_the_whole_recording():
    assert chunk("...", [], 7, 2.0) == [Piece("...", 0.0, 2.0)]


@pytest.mark.parametrize("seed", range(5))
def test_chunks_of_random_texts_keep_every_character_and_the_chunk_size(seed):
    random = np.random.default_rng(seed)
    text = "".join(random.choice(list("ab你好 ,.，。\"' -"), 300))
    for size in (1, 4, 7):
        for piece in texts(text, size, pauses={int(i): 0.3 for i in random.integers(100, size=9)}):
            assert size <= len(words(piece, "en")) <= LONGEST * size


def test_a_chunk_size_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="chunk_size"):
        chunk("a", [], 0, 1.0)
