"""The packing plan: every example once an epoch, no row too full, dense, and a pure function of the row's number."""

import numpy as np
import pytest

from cslm_jax.data.packing import PackingPlan, pack_lengths, permute

LENGTHS = {
    "speech": np.random.default_rng(0).integers(60, 260, 4000),
    "long tail": np.clip(np.random.default_rng(1).lognormal(4.5, 0.8, 6000), 4, 5000).astype(int),
    "one length": np.full(1000, 31),
    "rows": np.full(10, 1024),
}


def simple_best_fit_decreasing(lengths: np.ndarray, row_length: int) -> int:
    """The textbook algorithm, one example at a time; returns the number of rows."""
    room: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [i for i, free in enumerate(room) if free >= length]
        if fitting:
            room[min(fitting, key=lambda i: room[i])] -= length
        else:
            room.append(row_length - length)
    return len(room)


@pytest.mark.parametrize("seed", range(20))
def test_every_example_is_packed_once_and_fits(seed):
    rng = np.random.default_rng(seed)
    histogram = np.bincount(rng.integers(1, rng.integers(3, 90), size=rng.integers(1, 150)))
    packed = histogram * 0
    for group in pack_lengths(histogram, 64):
        assert 0 < sum(length * count for length, count in group.counts) <= 64
        for length, count in group.counts:
            packed[length] += count * group.rows
    assert np.array_equal(packed[:65], histogram[:65]) and not packed[65:].any()


@pytest.mark.parametrize("seed", range(10))
def test_denser_than_the_textbook_algorithm(seed):
    """Never much worse than best-fit-decreasing, and better on lengths like those of speech."""
    rng = np.random.default_rng(seed)
    for lengths in (rng.integers(1, 60, 200), rng.integers(10, 26, 400)):
        rows = sum(group.rows for group in pack_lengths(np.bincount(lengths), 128))
        assert -(-lengths.sum() // 128) <= rows <= simple_best_fit_decreasing(lengths, 128)


def test_the_best_filling_is_found():
    """50 + 30 + 20 fill the row; best fit would put 50 and 40 together and need a third row."""
    assert sum(group.rows for group in pack_lengths(np.bincount([50, 40, 30, 30, 30, 20]), 100)) == 2


@pytest.mark.parametrize("name", LENGTHS)
def test_each_epoch_holds_every_example_once(name):
    lengths = LENGTHS[name]
    plan = PackingPlan(lengths, 1024, seed=7)
    for epoch in (0, 1, 5):
        rows = plan.read(np.arange(plan.rows) + epoch * plan.rows)
        assert max(lengths[row].sum() for row in rows) <= 1024
        assert sorted(np.concatenate(rows)) == np.flatnonzero(lengths <= 1024).tolist()
    assert plan.left_out == np.sum(lengths > 1024)


def test_density_at_1024():
    """The project's bar is 0.97; published best-fit packing reaches 0.966."""
    for name in ("speech", "long tail"):
        assert PackingPlan(LENGTHS[name], 1024, seed=0).density >= 0.99


def test_rows_are_a_function_of_their_number_alone():
    plan, again = (PackingPlan(LENGTHS["speech"], 1024, seed=3) for _ in range(2))
    numbers = [5, plan.rows + 5, 3 * plan.rows - 1, 0]
    together = plan.read(numbers)
    assert all(np.array_equal(row, again.read([n])[0]) for n, row in zip(numbers, together, strict=True))


def test_epochs_and_seeds_differ():
    lengths = LENGTHS["speech"]
    plan, other = PackingPlan(lengths, 1024, seed=3), PackingPlan(lengths, 1024, seed=4)
    first, second, seeded = plan.read(range(20)), plan.read(range(plan.rows, plan.rows + 20)), other.read(range(20))
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, seeded, strict=True))


def test_neighbours_change_as_much_as_under_a_true_shuffle():
    """How many pairs share a row in two epochs: as many as if the examples of each length were shuffled by numpy."""
    lengths = np.random.default_rng(0).integers(100, 140, 4000)
    plan, rng = PackingPlan(lengths, 1024, seed=0), np.random.default_rng(0)
    shuffled = np.empty(len(lengths), int)
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        shuffled[members] = rng.permutation(members)
    first, second = (plan.read(np.arange(plan.rows) + epoch * plan.rows) for epoch in range(2))
    expected = len(_pairs(first) & _pairs([shuffled[row] for row in first]))
    assert len(_pairs(first) & _pairs(second)) < 1.3 * expected


def _pairs(rows: list[np.ndarray]) -> set[tuple[int, int]]:
    return {(a, b) for row in rows for a in row.tolist() for b in row.tolist() if a < b}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000])
def test_permute_is_a_permutation(size):
    index = np.arange(size)
    drawn = [permute(index, np.full(size, size), seed=seed).tolist() for seed in range(30)]
    assert all(sorted(order) == index.tolist() for order in drawn)
    if size >= 64:
        assert len({tuple(order) for order in drawn}) == 30


def test_permute_spreads_evenly():
    """Where index 0 goes over many seeds is close to uniform: a chi-square over ten places."""
    places = [permute(np.array([0]), np.array([10]), seed=seed)[0] for seed in range(3000)]
    observed = np.bincount(places, minlength=10)
    assert np.sum((observed - 300) ** 2 / 300) < 30  # p = 0.0004 for 9 degrees of freedom


def test_no_example_fits():
    plan = PackingPlan(np.array([2000, 3000]), 1024, seed=0)
    assert (plan.rows, plan.left_out) == (0, 2)
