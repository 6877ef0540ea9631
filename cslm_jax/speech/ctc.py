"""Connectionist temporal classification: labels, decoding and forced alignment.

The aligner takes log-probabilities and labels, nothing else, so that any CTC model can be plugged in.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cslm_jax.buckets import bucket
from cslm_jax.errors import BadRecord

BLANK = 0
"""Label id of the blank."""
STAR = -1
"""Stands in for a character outside the alphabet: it may be anything, so its log-probability is 0."""
_IMPOSSIBLE = -1e30


@dataclasses.dataclass(frozen=True)
class Labels:
    """The characters that a CTC head tells apart; label i + 1 is character i, label 0 the blank."""

    characters: tuple[str, ...]
    """One character each, sorted, none twice."""

    def __post_init__(self):
        if any(len(character) != 1 for character in self.characters):
            raise ValueError("labels: every entry must be a single character")
        if len(set(self.characters)) != len(self.characters):
            raise ValueError("labels: a character occurs twice")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Labels:
        """The alphabet of all `texts`, after `spoken`; one alphabet serves all languages."""
        return cls(tuple(sorted(set().union(*map(spoken, texts)))))

    @property
    def size(self) -> int:
        """Number of labels with the blank."""
        return len(self.characters) + 1

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {character: i + 1 for i, character in enumerate(self.characters)}

    def encode(self, text: str) -> Int[np.ndarray, "L"]:
        """One label a character of `text` as it stands; characters outside the alphabet become STAR."""
        return np.array([self._ids.get(character, STAR) for character in text], np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of label ids, blanks left out."""
        return "".join(self.characters[i - 1] for i in ids if i != BLANK)


def spoken(text: str) -> str:
    """What can be heard of a text: lower case letters and digits of any script, words parted by one space.

    Punctuation parts words like a space does, except the apostrophe, which is dropped. Scripts without spaces
    (Han) get none: a space is kept only between two characters of scripts that use them.
    """
    kept = "".join(c if c.isalnum() else "" if c in "'’" else " " for c in text.lower())
    joined = " ".join(kept.split())
    return "".join(c for i, c in enumerate(joined) if c != " " or not (is_han(joined[i - 1]) or is_han(joined[i + 1])))


def is_han(character: str) -> bool:
    """Whether a character is a Chinese one (the CJK unified ideographs and their first extension)."""
    return "\u4e00" <= character <= "\u9fff" or "\u3400" <= character <= "\u4dbf"


def greedy(log_probs: Float[np.ndarray, "T V"]) -> Int[np.ndarray, "L"]:
    """The best label of each frame, repeats merged, blanks removed."""
    best = np.argmax(log_probs, axis=-1)
    changed = np.diff(best, prepend=-1) != 0
    return best[changed & (best != BLANK)].astype(np.int32)


def frames_needed(labels: Int[np.ndarray, "L"]) -> int:
    """Fewest frames that can carry the labels: equal neighbours need a blank between them."""
    labels = np.asarray(labels)
    return len(labels) + int(np.sum(labels[1:] == labels[:-1]))


def align(log_probs: Float[np.ndarray, "T V"], labels: Int[np.ndarray, "L"]) -> Int[np.ndarray, "T"]:
    """Best path of one utterance: for every frame the index into `labels`, or -1 for a blank.

    The shapes are padded to buckets, so that few programs are compiled for many utterances.

    Raises:
        BadRecord: (stage "align") there are no labels, or more than the frames can carry.
    """
    _check_alignable(log_probs, labels)
    frames, count = len(log_probs), len(labels)
    padded = np.zeros((1, bucket(frames), log_probs.shape[1]), np.float32)
    padded[0, :frames] = log_probs
    padded_labels = np.full((1, bucket(count)), BLANK, np.int32)
    padded_labels[0, :count] = labels
    path = viterbi(padded, padded_labels, np.array([frames]), np.array([count]))
    return np.asarray(path[0, :frames])


@jax.jit
def viterbi(
    log_probs: Float[Array, "B T V"],
    labels: Int[Array, "B L"],
    frame_lengths: Int[Array, "B"],
    label_lengths: Int[Array, "B"],
) -> Int[Array, "B T"]:
    """Best paths through the blank-expanded labels (paper section 2): pi* = argmax of prod_t P(pi_t), B(pi) = Y.

    Returns, for every frame, the index of its label in the row of `labels`, or -1 for a blank and for frames
    behind the row's length. Ties go to the path that stays in its state. Rows must be alignable
    (`frames_needed(labels) <= frame_length`); see `align`.
    """
    return jax.vmap(_viterbi_row)(log_probs, labels, frame_lengths, label_lengths)


def _viterbi_row(log_probs: Array, labels: Array, frames: Array, count: Array) -> Array:
    length, states = len(log_probs), 2 * len(labels) + 1
    state_labels = jnp.full(states, BLANK).at[1::2].set(labels)
    # A state may be entered from two states before only if it is a label and not equal to the one before.
    may_skip = jnp.zeros(states, bool).at[3::2].set(labels[1:] != labels[:-1])
    emissions = jnp.where(state_labels == STAR, 0.0, log_probs[:, jnp.maximum(state_labels, 0)])

    def forward(score, inputs):
        t, emission = inputs
        one_back = jnp.concatenate([jnp.full(1, _IMPOSSIBLE), score[:-1]])
        two_back = jnp.concatenate([jnp.full(2, _IMPOSSIBLE), score[:-2]])[:states]
        choices = jnp.stack([score, one_back, jnp.where(may_skip, two_back, _IMPOSSIBLE)])
        step = jnp.argmax(choices, axis=0)
        present = t < frames
        new = jnp.where(present, jnp.max(choices, axis=0) + emission, score)
        return new, jnp.where(present, step, 0).astype(jnp.int8)

    start = jnp.where(jnp.arange(states) < 2, emissions[0], _IMPOSSIBLE)
    score, steps = jax.lax.scan(forward, start, (jnp.arange(1, length), emissions[1:]))
    last = 2 * count  # the blank behind the last label
    end = jnp.where(score[last] > score[last - 1], last, last - 1)

    def backward(state, step):
        before = state - step[state]
        return before, before

    _, path = jax.lax.scan(backward, end, steps, reverse=True)
    path = jnp.append(path, end)
    is_label = (path % 2 == 1) & (jnp.arange(length) < frames)
    return jnp.where(is_label, path // 2, -1).astype(jnp.int32)


def viterbi_numpy(log_probs: Float[np.ndarray, "T V"], labels: Int[np.ndarray, "L"]) -> Int[np.ndarray, "T"]:
    """The plain reference of `viterbi` for one utterance, written for reading."""
    _check_alignable(log_probs, labels)
    expanded = [BLANK]
    for label in labels:
        expanded += [int(label), BLANK]
    score = np.full((len(log_probs), len(expanded)), -np.inf)
    came_from = np.zeros(score.shape, int)
    for t, frame in enumerate(log_probs):
        for state, label in enumerate(expanded):
            emission = 0.0 if label == STAR else frame[label]
            if t == 0:
                score[t, state] = emission if state < 2 else -np.inf
                continue
            sources = [state, state - 1] if state else [state]
            if state >= 2 and label != BLANK and label != expanded[state - 2]:
                sources.append(state - 2)
            came_from[t, state] = max(sources, key=lambda source: score[t - 1, source])
            score[t, state] = score[t - 1, came_from[t, state]] + emission
    state = len(expanded) - 1
    if score[-1, state] <= score[-1, state - 1]:
        state -= 1
    path = []
    for t in reversed(range(len(log_probs))):
        path.append(state // 2 if state % 2 else -1)
        state = came_from[t, state]
    return np.array(path[::-1], np.int32)


def _check_alignable(log_probs: np.ndarray, labels: Sequence[int] | np.ndarray) -> None:
    if not len(labels):
        raise BadRecord("align", "the text has no character to align")
    needed = frames_needed(np.asarray(labels))
    if needed > len(log_probs):
        raise BadRecord("align", f"the text needs {needed} frames, the sound has {len(log_probs)}")
