"""Words and their times: a golden test for each point that the paper leaves open.

Log-probabilities are drawn as strings, one character a frame, "_" a blank: the aligner must find the drawing.
"""

import numpy as np
import pytest

from cslm_jax.errors import BadRecord
from cslm_jax.speech import ctc
from cslm_jax.speech.align import Word, align, align_batch, words

LABELS = ctc.Labels(tuple(sorted(" abcdefghijklmnopqrstuvwxyz你好吗我很天气")))


def drawn(frames: str, labels: ctc.Labels = LABELS) -> np.ndarray:
    """Log-probabilities [T, V] of a model that is sure of `frames`; "?" is a frame that may be anything."""
    probabilities = np.full((len(frames), labels.size), 0.1 / labels.size)
    for row, frame in zip(probabilities, frames, strict=True):
        if frame == "?":
            row[:] = 1 / labels.size
        else:
            row[labels.blank if frame == "_" else labels.encode(frame)[0]] += 0.9
    return np.log(probabilities).astype(np.float32)


def aligned(text: str, frames: str, language: str = "en", labels: ctc.Labels = LABELS) -> list[tuple[str, float, float]]:
    found = align(text, language, drawn(frames, labels), labels, frame_rate=1.0)
    return [(text[word.start_char : word.end_char], word.start_s, word.end_s) for word in found]


# Words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Yes, I don't know.", ["Yes", "I", "don't", "know"]),
        ("a well-known l’homme", ["a", "well", "known", "l’homme"]),
        ("It costs 1,234.50 at 10:30.", ["It", "costs", "1,234.50", "at", "10:30"]),
        ("你好，world！我很好。", ["你", "好", "world", "我", "很", "好"]),
        ("用iPhone15打", ["用", "iPhone15", "打"]),
        ("カタカナ々", ["カ", "タ", "カ", "ナ", "々"]),
        ("Où été?", ["Où", "été"]),
        ("R&B + $5 = 50%, 5 %.", ["R", "&", "B", "+", "$5", "=", "50%", "5 %"]),
        ("花了￥１２，打８０％折", ["花", "了", "￥１２", "打", "８０％", "折"]),
        ("100% % $", ["100%"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("un cafe\u0301 noir", ["un", "cafe\u0301", "noir"]),
        ("か\u3099く \u2764\ufe0f", ["か\u3099", "く"]),
        (" … — ", []),
        ("", []),
    ],
)
def test_words(text, expected):
    assert [text[a:b] for a, b in words(text, "en")] == expected


def test_a_language_without_a_rule_for_words_is_rejected_by_name():
    with pytest.raises(BadRecord, match="Thai"):
        words("สวัสดี", "th")


# Times -------------------------------------------------------------------------------------------------


def test_spans_are_first_and_last_frame_of_a_word():
    assert aligned("Go, home!", "__ggo__ _hhom_ee__") == [("Go", 2, 5), ("home", 9, 16)]


def test_every_chinese_character_has_its_own_span():
    assert aligned("你好，天气。", "_你你_好___天气气_", "zh") == [
        ("你", 1, 3),
        ("好", 4, 5),
        ("天", 8, 9),
        ("气", 9, 11),
    ]


def test_repeated_letters_need_a_blank_between():
    """The frame between two equal letters is a blank although the model gives it no chance."""
    assert aligned("see", "_seee_") == [("see", 1, 5)]
    assert aligned("好好", "_好_好_", "zh") == [("好", 1, 2), ("好", 3, 4)]


def test_numbers_are_listened_for_as_they_are_said():
    """The word stays "42", and lasts as long as "forty two" does."""
    assert aligned("go 42 home", "_go_ __forty_two__ home_") == [("go", 1, 3), ("42", 7, 16), ("home", 19, 23)]
    labels = ctc.Labels(tuple("我有四十二只"))
    assert aligned("我有４２只", "_我_有四_十二__只_", "zh", labels)[2:] == [("４２", 4, 8), ("只", 10, 11)]


def test_a_number_that_cannot_be_said_becomes_one_star_that_fits_what_was_spoken():
    (go, number, home) = aligned("go 007 home", "_go_ __seven_zero__ home_")
    assert (go, home) == (("go", 1, 3), ("home", 20, 24))
    assert number[0] == "007" and number[1] <= 7 and number[2] >= 17


def test_symbols_between_words_are_spoken():
    assert aligned("you & me", "you_and_me") == [("you", 0, 3), ("&", 4, 7), ("me", 8, 10)]
    assert aligned("go + go", "go__?__go", "xx")[2] == ("go", 7, 9), "a star where the language is not known"


def test_an_alphabet_of_capitals_with_a_separator_and_a_late_blank():
    """As wav2vec 2.0 has it; accents that the alphabet lacks fall away, apostrophes that it has are listened for."""
    labels = ctc.Labels(tuple("|'ABDEFHILNOT"), ids=tuple(range(2, 15)), blank=20, separator="|")
    found = align("I don't, Édith", "fr", drawn("I|DDON'TT__|ED_ITH", labels), labels, 1.0)
    assert [(word.start_s, word.end_s) for word in found][:2] == [(0, 1), (2, 9)]
    assert found[2].start_s == 12


def test_many_are_aligned_like_one_and_the_bad_ones_say_why():
    texts = ["go home", "see", "42", "我很好", ""]
    frames = ["_go_ _home_", "see", "____", "我_很__好", "__"]
    languages = ["en", "en", "xx", "zh", "en"]
    found = align_batch(texts, languages, [drawn(row) for row in frames], LABELS, 1.0)
    assert found[0] == align(texts[0], "en", drawn(frames[0]), LABELS, 1.0) and found[3][2] == Word(2, 3, 5.0, 6.0)
    reasons = [error.reason for error in (found[1], found[2], found[4]) if isinstance(error, BadRecord)]
    assert ["needs 4 frames" in reasons[0], "alphabet" in reasons[1], "no character" in reasons[2]] == [True] * 3


def test_an_unknown_chinese_character_is_a_star_between_its_neighbours():
    assert [word for word, *_ in aligned("我龘好", "_我__?__好_", "zh")] == ["我", "龘", "好"]
    assert aligned("我龘好", "_我__?__好_", "zh")[2] == ("好", 7, 8)


def test_case_and_apostrophes_do_not_matter():
    assert aligned("DON'T", "_ddont_") == [("DON'T", 1, 6)]


def test_an_alphabet_without_a_space_aligns_too():
    labels = ctc.Labels(tuple("abgo"))
    assert aligned("go ba", "_go__ba_", labels=labels) == [("go", 1, 3), ("ba", 5, 7)]


@pytest.mark.parametrize(
    "text, reason", [("007", "alphabet"), ("龘", "alphabet"), ("!? …", "no character"), ("", "no character")]
)
def test_a_text_without_alignable_characters_is_rejected(text, reason):
    with pytest.raises(BadRecord, match=reason) as error:
        aligned(text, "_____abc")
    assert error.value.stage == "align"


def test_too_little_sound_for_the_text_is_rejected():
    assert aligned("see", "seee")
    with pytest.raises(BadRecord, match="needs 4 frames, the sound has 3"):
        aligned("see", "see")


def test_labels_are_those_of_the_spoken_text():
    """The aligner must ask for what the recogniser was taught to write."""
    text = "Well, 你好 tom's 很好 a b。"
    frames = "_".join(ctc.spoken("Well, 你好 toms 很好 a b。"))
    assert [word for word, *_ in aligned(text, f"_{frames}_")] == ["Well", "你", "好", "tom's", "很", "好", "a", "b"]
    spoken = ctc.spoken(text)
    assert len(aligned(text, "?" * ctc.frames_needed(LABELS.encode(spoken)))) == 8
