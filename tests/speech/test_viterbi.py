"""Forced alignment: a wrong path shifts which units stand beside which words."""

import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

from cslm_jax.errors import BadRecord
from cslm_jax.speech import ctc
from cslm_jax.speech.viterbi import align, align_batch, viterbi_numpy


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
        path = viterbi_numpy(log_probs, np.array(labels))
        assert tuple(ctc.BLANK if i < 0 else labels[i] for i in path) == best


@pytest.mark.parametrize("blank", [0, 4])
def test_a_ragged_batch_is_the_reference(blank):
    """More rows than go at once; two lengths of buckets; stars; an alphabet whose blank is not the first label."""
    rng = np.random.default_rng(1)
    rows = [(int(rng.integers(25, 80)), int(rng.integers(1, 13))) for _ in range(11)]
    log_probs = [random_log_probs(rng, frames, 7) for frames, _ in rows]
    alphabet = np.array([label for label in range(7) if label != blank], np.int32)
    labels = [np.where(rng.random(count) < 0.1, ctc.STAR, rng.choice(alphabet, count)) for _, count in rows]
    for path, scores, row in zip(align_batch(log_probs, labels, blank, at_once=8), log_probs, labels, strict=True):
        np.testing.assert_array_equal(path, viterbi_numpy(scores, row, blank))


@pytest.mark.parametrize("frames, labels", [(1, [1]), (3, [1, 2, 3]), (3, [2, 2]), (40, [1] * 5), (33, [3, -1, -1, 2])])
def test_align_handles_the_edges(frames, labels):
    log_probs = random_log_probs(np.random.default_rng(2), frames, 4)
    path = align(log_probs, np.array(labels))
    np.testing.assert_array_equal(path, viterbi_numpy(log_probs, np.array(labels)))
    assert set(range(len(labels))) <= set(path.tolist())


def test_a_star_takes_the_frames_that_no_label_explains():
    log_probs = np.full((7, 4), np.log(1e-4), np.float32)
    for t, label in enumerate([1, 1, 0, 3, 3, 0, 2]):
        log_probs[t, label] = np.log(1 - 3e-4)
    path = align(log_probs, np.array([1, ctc.STAR, 2]))
    assert path[0] == 0 and path[6] == 2 and path[3] == path[4] == 1


@pytest.mark.parametrize(
    "labels, reason", [([], "no character"), ([1, 2, 3, 1], "needs 4 frames"), ([1, 1, 2], "needs 4 frames")]
)
def test_what_cannot_be_aligned_is_refused(labels, reason):
    with pytest.raises(BadRecord, match=reason) as caught:
        align(np.zeros((3, 4), np.float32), np.array(labels, np.int32))
    assert caught.value.stage == "align"


def test_paths_are_those_of_a_public_aligner():
    """Found by ctc-forced-aligner; see data/README.md. No two of these paths tie."""
    with np.load(Path(__file__).parent / "data" / "forced_alignment.npz") as stored:
        cases = [{name: stored[f"{name}_{i}"] for name in ("log_probs", "labels", "blank", "path")} for i in range(5)]
    for case in cases:
        path = align(case["log_probs"].astype(np.float32), case["labels"], int(case["blank"]))
        np.testing.assert_array_equal(np.where(path < 0, case["blank"], case["labels"][path]), case["path"])
