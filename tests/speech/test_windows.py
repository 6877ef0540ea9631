"""Long sound in windows: whatever its length, every unit of it stays once."""

import dataclasses

import pytest

from cslm_jax.speech.s3_config import PUBLISHED
from cslm_jax.speech.windows import windows


@pytest.mark.parametrize("version", ["v1_25hz", "v1_50hz"])
@pytest.mark.parametrize("frames", [1, 2999, 3000, 3001, 3003, 5599, 5600, 5601, 6000, 6001, 6500, 123457])
def test_kept_units_are_those_of_the_whole(version, frames):
    config, units = PUBLISHED[version], []
    for window in windows(frames, config):
        assert 0 < window.frames <= 3000 and window.start % 2600 == 0
        first = window.start * config.unit_rate // 100
        units += list(range(first, first + config.units(window.frames)))[window.kept]
    assert units == list(range(config.units(frames)))


def test_a_unit_is_heard_with_two_seconds_at_each_side():
    first, second, third = windows(6500, PUBLISHED["v1_25hz"])
    assert (first.kept, second.kept, third.kept) == (slice(0, -50), slice(50, -50), slice(50, None))
    assert (third.start, third.frames) == (5200, 1300)


def test_without_windows_everything_is_one():
    (whole,) = windows(10_000, dataclasses.replace(PUBLISHED["v2"], window_seconds=None))
    assert (whole.start, whole.frames) == (0, 10_000)
