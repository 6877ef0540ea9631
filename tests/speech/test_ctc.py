"""CTC labels: the alphabet of a model, and what a text sounds like in it."""

import numpy as np
import pytest

from cslm_jax.speech import ctc


def test_greedy_merges_before_it_removes_blanks():
    best = [0, 1, 1, 0, 1, 2, 2, 0]
    assert ctc.greedy(np.eye(3)[best]).tolist() == [1, 1, 2]
    assert ctc.greedy(np.eye(3)[[0, 0]]).tolist() == []


@pytest.mark.parametrize(
    "text, said",
    [
        ("The dog, it's RED.", "the dog its red"),
        ("红色的狗，在哪里？", "红色的狗在哪里"),
        ("我 有 3 只 cats!", "我有3只cats"),
        (" two  spaces ", "two spaces"),
        ("नमस्ते, दुनिया!", "नमस्ते दुनिया"),
        ("Le cafe\u0301.", "le cafe\u0301"),
        ("love \u2764\ufe0f it_all", "love it all"),
        ("。，", ""),
    ],
)
def test_spoken_keeps_what_is_heard(text, said):
    assert ctc.spoken(text) == said


def test_labels_cover_both_languages_and_mark_the_rest():
    labels = ctc.Labels.from_texts(["a cab.", "红狗"])
    assert labels.characters == (" ", "a", "b", "c", "狗", "红") and labels.size == 7
    assert labels.decode(labels.encode("红 cab")) == "红 cab"
    assert labels.encode("a7").tolist() == [2, ctc.STAR]


def test_labels_refuse_what_is_no_alphabet():
    with pytest.raises(ValueError, match="twice"):
        ctc.Labels(("a", "a"))
    with pytest.raises(ValueError, match="single"):
        ctc.Labels(("ab",))


def test_labels_of_a_published_model():
    """Ids as they are, capitals, a separator, a blank anywhere; ids without a character say nothing."""
    labels = ctc.Labels(tuple("|'ABE"), ids=(4, 5, 7, 8, 9), blank=11, separator="|")
    assert labels.size == 12 and labels.encode("a Bé'7").tolist() == [7, 4, 8, 9, 5, ctc.STAR]
    assert labels.decode([0, 7, 4, 8, 11]) == "a b"


@pytest.mark.parametrize("ids, blank", [((1, 1), 0), ((1, 0), 0), ((1,), 0)])
def test_labels_refuse_ids_that_mean_two_things(ids, blank):
    with pytest.raises(ValueError, match="id of its own"):
        ctc.Labels(("a", "b"), ids, blank)
