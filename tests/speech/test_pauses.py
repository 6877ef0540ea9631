"""Where two words part in the sound: a cut inside a word would give its end to the next chunk."""

import itertools

import numpy as np
import pytest

from cslm_jax.speech.align import Word
from cslm_jax.speech.chunks import chunk
from cslm_jax.speech.pauses import part_at_pauses

RATE = 16000


def tones(*stretches: tuple[float, float]) -> np.ndarray:
    """Seconds and amplitude of one stretch after the other, over a little noise."""
    parts = [level * np.sin(2 * np.pi * 150 * np.arange(int(seconds * RATE)) / RATE) for seconds, level in stretches]
    sound = np.concatenate(parts)
    return (sound + np.random.default_rng(0).normal(0, 1e-3, len(sound))).astype(np.float32)


def test_the_cut_falls_into_the_pause_and_not_into_the_middle_of_the_gap():
    """Peaks at 0.1 s and 0.9 s: the middle, 0.5 s, is still the first word."""
    spoken = [Word(0, 1, 0.1, 0.14), Word(3, 4, 0.9, 0.94)]
    found = part_at_pauses(spoken, tones((0.7, 0.5), (0.1, 0.0), (0.4, 0.5)))
    assert found[0].start_s == 0.1 and found[1].end_s == 0.94
    assert found[0].end_s == pytest.approx(0.7, abs=0.021) and found[1].start_s == pytest.approx(0.8, abs=0.021)
    assert chunk("a, b", found, 1, 1.2)[1].start_s == pytest.approx(0.75, abs=0.011)


def test_without_a_pause_the_quietest_moment_is_taken():
    spoken = [Word(0, 1, 0.0, 0.1), Word(2, 3, 0.8, 0.9)]
    (first, second) = part_at_pauses(spoken, tones((0.5, 0.5), (0.05, 0.1), (0.4, 0.4)))
    assert 0.48 <= first.end_s < second.start_s <= 0.57


def test_a_pause_outside_the_gap_is_not_reached_for():
    """The silence at 0.3 s is inside a word, before its last label."""
    spoken = [Word(0, 1, 0.1, 0.5), Word(2, 3, 0.6, 0.8)]
    (first, second) = part_at_pauses(spoken, tones((0.25, 0.5), (0.1, 0.0), (0.65, 0.5)))
    assert 0.5 <= first.end_s <= second.start_s <= 0.6


def test_words_without_a_gap_stay_and_silence_is_a_gap_as_a_whole():
    spoken = [Word(0, 1, 0.1, 0.2), Word(1, 2, 0.2, 0.3), Word(2, 3, 0.6, 0.7)]
    found = part_at_pauses(spoken, np.concatenate([tones((0.3, 0.5)), np.zeros(4800, np.float32), tones((0.3, 0.5))]))
    assert found[0].end_s == found[1].start_s == 0.2
    assert found[1].end_s == pytest.approx(0.3, abs=0.021) and found[2].start_s == pytest.approx(0.6, abs=0.021)


@pytest.mark.parametrize("seed", range(3))
def test_words_stay_in_order_and_only_gaps_shrink(seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 100, 40)) / 25  # beyond the end of the sound too
    spoken = [Word(i, i + 1, *span) for i, span in enumerate(times.reshape(-1, 2).tolist())]
    found = part_at_pauses(spoken, rng.normal(0, rng.random(RATE * 3), RATE * 3).astype(np.float32))
    assert all(new.start_s <= old.start_s and old.end_s <= new.end_s for new, old in zip(found, spoken, strict=True))
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(found))


def test_nothing_said_and_next_to_no_sound():
    assert part_at_pauses([], np.zeros(100, np.float32)) == ()
    assert part_at_pauses([Word(0, 1, 0.0, 0.1)], np.zeros(10, np.float32)) == (Word(0, 1, 0.0, 0.1),)
