"""Units and run lengths: merging loses nothing, cuts share no frame and lose none."""

import numpy as np
import pytest

from cslm_jax.speech.units import Speech


@pytest.mark.parametrize("frames", [[], [3], [1, 1, 2, 3, 3, 3, 1], list(np.random.default_rng(0).integers(0, 3, 200))])
def test_merging_is_exact(frames):
    speech = Speech.from_frames(np.array(frames, np.int32))
    assert speech.frames.tolist() == list(frames)
    assert not (np.diff(speech.units) == 0).any()
    assert speech.seconds == pytest.approx(len(frames) / 25)


def test_adjacent_cuts_partition_the_frames():
    frames = np.random.default_rng(1).integers(0, 4, 120)
    speech = Speech.from_frames(frames)
    times = [0.0, 0.29, 1.0, 2.33, 99.0]
    parts = [speech.cut(a, b) for a, b in zip(times, times[1:])]
    assert np.concatenate([part.frames for part in parts]).tolist() == frames.tolist()


def test_each_cut_is_merged_by_itself():
    speech = Speech.from_frames(np.array([5, 5, 5, 5]))
    left, right = speech.cut(0, 0.08), speech.cut(0.08, 0.16)
    assert left.units.tolist() == right.units.tolist() == [5]
    assert left.run_lengths.tolist() == right.run_lengths.tolist() == [2]
