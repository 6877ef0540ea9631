"""Forced alignment: the best path of labels through CTC log-probabilities (paper section 3).

pi* = argmax of prod_t P(pi_t) over the paths that collapse to the labels. Behind label i there may be a blank, so a path
is in one of two states for each i = 0 .. L: the blank behind i labels, or label i itself (label 0 does not exist).
Ties go to the path that stays in its state, then to the one that comes from the blank.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from cslm_jax.buckets import bucket
from cslm_jax.errors import BadRecord
from cslm_jax.speech.ctc import BLANK, STAR, frames_needed

_IMPOSSIBLE = -1e30

Path = Int[np.ndarray, "T"]
"""For every frame the index of its label in the row of labels, or -1 for a blank."""


def check_alignable(frames: int, labels: Int[np.ndarray, "L"]) -> None:
    """Raises BadRecord (stage "align") if there are no labels, or more than the frames can carry."""
    if not len(labels):
        raise BadRecord("align", "the text has no character to align")
    needed = frames_needed(labels)
    if needed > frames:
        raise BadRecord("align", f"the text needs {needed} frames, the sound has {frames}")


def align(log_probs: Float[np.ndarray, "T V"], labels: Int[np.ndarray, "L"], blank: int = BLANK) -> Path:
    """Best path of one utterance; raises BadRecord like `check_alignable`."""
    return align_batch([log_probs], [labels], blank)[0]


def align_batch(
    log_probs: Sequence[Float[np.ndarray, "_ V"]],
    labels: Sequence[Int[np.ndarray, "_"]],
    blank: int = BLANK,
    at_once: int = 32,
) -> list[Path]:
    """Best paths of many utterances, those of like length at once, padded to buckets of few shapes.

    Raises:
        BadRecord: an utterance cannot be aligned; where the others should go on, ask `check_alignable` first.
    """
    for scores, row in zip(log_probs, labels, strict=True):
        check_alignable(len(scores), row)
    paths: list = [None] * len(labels)
    order = sorted(range(len(labels)), key=lambda i: len(log_probs[i]))
    rows = 1 if len(labels) == 1 else at_once
    for start in range(0, len(order), at_once):
        picked = order[start : start + at_once]
        packed = _pack([log_probs[i] for i in picked], [np.asarray(labels[i]) for i in picked], blank, rows)
        for i, path in zip(picked, np.asarray(viterbi(*packed))):
            paths[i] = path[: len(log_probs[i])]
    return paths


def _pack(log_probs: Sequence[np.ndarray], labels: Sequence[np.ndarray], blank: int, rows: int) -> tuple[np.ndarray, ...]:
    """The arguments of `viterbi`. Of the log-probabilities only the columns that a text asks for are taken along: an
    alphabet of thousands of Han characters would not fit otherwise. A star is a column of zeros."""
    columns = [np.unique([blank, STAR, *row], return_inverse=True) for row in labels]
    # One frame more than there are: only a blank can be there, so every path ends in the last one.
    frames = bucket(max(map(len, log_probs)) + 1, 64)
    emissions = np.full((rows, frames, bucket(max(len(kept) for kept, _ in columns), 64)), _IMPOSSIBLE, np.float32)
    of_state = np.zeros((rows, bucket(max(map(len, labels)) + 1, 64)), np.int32)
    may_skip = np.zeros(of_state.shape, bool)
    for i, (scores, row, (kept, place)) in enumerate(zip(log_probs, labels, columns, strict=True)):
        emissions[i, : len(scores), : len(kept)] = scores[:, kept]
        emissions[i, : len(scores), place[1]] = 0.0
        of_state[i] = place[0]
        of_state[i, 1 : len(row) + 1] = place[2:]
        emissions[i, len(scores) :, place[0]] = 0.0
        may_skip[i, 1 : len(row)] = row[1:] != row[:-1]
    return emissions, of_state, may_skip, np.array([*map(len, labels), *[0] * (rows - len(labels))], np.int32)


@jax.jit
def viterbi(
    emissions: Float[Array, "B T U"], of_state: Int[Array, "B N"], may_skip: Bool[Array, "B N"], counts: Int[Array, "B"]
) -> Int[Array, "B T"]:
    """Best paths of a batch, each to the blank behind its last label; see `Path`.

    Args:
        emissions: log-probabilities of the labels that the rows ask for.
        of_state: where in U label i of a row stands, from 1; at 0 the blank.
        may_skip: whether label i + 1 may follow label i without a blank between.
        counts: labels of each row, at most N - 1.
    """

    def forward(scores, frame):
        blank, label = scores
        emission = jnp.take_along_axis(frame, of_state, axis=1, mode="clip")
        best = jnp.maximum(blank, label)
        source = jnp.where(may_skip, best, blank)
        before = jnp.concatenate([jnp.full_like(source[:, :1], _IMPOSSIBLE), source[:, :-1]], axis=1)
        new = best + emission[:, :1], jnp.maximum(label, before) + emission
        return new, (label > blank, before > label)

    number = jnp.arange(of_state.shape[1])
    first = jnp.take_along_axis(emissions[:, 0], of_state, axis=1, mode="clip")
    start = jnp.where(number == 0, first, _IMPOSSIBLE), jnp.where(number == 1, first, _IMPOSSIBLE)
    _, choices = jax.lax.scan(forward, start, jnp.swapaxes(emissions[:, 1:], 0, 1))

    rows = jnp.arange(len(counts))

    def backward(state, choice):
        index, is_label = state
        from_label, entered = choice
        came = is_label & entered[rows, index]  # from one label before, or the blank behind that
        index = index - came
        stayed = is_label & ~came
        is_label = stayed | (from_label[rows, index] & (~came | may_skip[rows, index]))
        return (index, is_label), (index, is_label)

    end = counts, jnp.zeros(len(counts), bool)
    _, (index, is_label) = jax.lax.scan(backward, end, choices, reverse=True)
    path = jnp.where(is_label, index - 1, -1)
    return jnp.append(path, jnp.full((1, len(counts)), -1), axis=0).T


def viterbi_numpy(log_probs: Float[np.ndarray, "T V"], labels: Int[np.ndarray, "L"], blank: int = BLANK) -> Path:
    """The plain reference for one utterance, written for reading: states 0 .. 2L are blank, label, blank ... blank."""
    check_alignable(len(log_probs), labels)
    expanded = np.full(2 * len(labels) + 1, blank)
    expanded[1::2] = labels
    emissions = np.where(expanded == STAR, np.float32(0), log_probs[:, expanded])
    skip = np.full(len(expanded), -np.inf, np.float32)  # from two states before: only a label unlike the one before
    skip[3::2] = np.where(labels[1:] == labels[:-1], -np.inf, 0)
    score = np.full(len(expanded), -np.inf, np.float32)
    score[:2] = emissions[0, :2]
    steps = np.zeros(emissions.shape, np.int8)
    for t in range(1, len(emissions)):
        choices = np.full((3, len(score)), -np.inf, np.float32)
        choices[0] = score
        choices[1, 1:] = score[:-1]
        choices[2, 2:] = score[:-2] + skip[2:]
        steps[t] = choices.argmax(axis=0)
        score = choices.max(axis=0) + emissions[t]
    state = len(score) - 1 if score[-1] >= score[-2] else len(score) - 2
    path = np.full(len(emissions), -1, np.int32)
    for t in reversed(range(len(emissions))):
        if state % 2:
            path[t] = state // 2
        state -= int(steps[t, state])
    return path
