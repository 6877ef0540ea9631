"""CTC labels and alignment: a wrong path shifts which units stand beside which words."""

import itertools

import jax
import numpy as np
import pytest

from cslm_jax.errors import BadRecord
from cslm_jax.speech import ctc


def random_log_probs(rng, *shape):
    return np.asarray(jax.nn.log_softmax(2 * rng.normal(size=shape).astype(np.float32)))


def collapse(path):
    return tuple(label for label, _ in itertools.groupby(path) if label != ctc.BLANK)


def test_the_reference_finds_the_best_of_all_paths():
    """Exhaustive search over every labelling of a few frames."""
    rng = np.random.default_rng(0)
    for labels in [(1,), (1, 2), (1, 1), (2, 1, 2), (2, 2, 1)]:
        log_probs = random_log_probs(rng, 6, 3)
        paths = [p for p in itertools.product(range(3), repeat=6) if collapse(p) == labels]
        best = max(paths, key=lambda p: sum(log_probs[t, label] for t, label in enumerate(p)))
        path = ctc.viterbi_numpy(log_probs, np.array(labels))
        assert tuple(ctc.BLANK if i < 0 else labels[i] for i in path) == best


def test_viterbi_is_the_reference_for_a_ragged_batch():
    rng = np.random.default_rng(1)
    rows = [(int(rng.integers(25, 50)), int(rng.integers(1, 13))) for _ in range(16)]
    log_probs = random_log_probs(rng, 16, 50, 7)
    labels = rng.integers(1, 7, (16, 12)).astype(np.int32)
    labels[rng.random(labels.shape) < 0.1] = ctc.STAR
    paths = ctc.viterbi(log_probs, labels, np.array([t for t, _ in rows]), np.array([n for _, n in rows]))
    for got, scores, row, (frames, count) in zip(np.asarray(paths), log_probs, labels, rows):
        np.testing.assert_array_equal(got[:frames], ctc.viterbi_numpy(scores[:frames], row[:count]))
        assert np.all(got[frames:] == -1)


@pytest.mark.parametrize("frames, labels", [(1, [1]), (3, [1, 2, 3]), (3, [2, 2]), (40, [1] * 5), (33, [3, -1, -1, 2])])
def test_align_handles_the_edges(frames, labels):
    log_probs = random_log_probs(np.random.default_rng(2), frames, 4)
    path = ctc.align(log_probs, np.array(labels))
    np.testing.assert_array_equal(path, ctc.viterbi_numpy(log_probs, np.array(labels)))
    assert set(range(len(labels))) <= set(path.tolist())


def test_a_star_takes_the_frames_that_no_label_explains():
    log_probs = np.full((7, 4), np.log(1e-4), np.float32)
    for t, label in enumerate([1, 1, 0, 3, 3, 0, 2]):
        log_probs[t, label] = np.log(1 - 3e-4)
    path = ctc.align(log_probs, np.array([1, ctc.STAR, 2]))
    assert path[0] == 0 and path[6] == 2 and path[3] == path[4] == 1


@pytest.mark.parametrize(
    "labels, reason", [([], "no character"), ([1, 2, 3, 1], "needs 4 frames"), ([1, 1, 2], "needs 4 frames")]
)
def test_what_cannot_be_aligned_is_refused(labels, reason):
    with pytest.raises(BadRecord, match=reason) as caught:
        ctc.align(np.zeros((3, 4), np.float32), np.array(labels, np.int32))
    assert caught.value.stage == "align"


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
