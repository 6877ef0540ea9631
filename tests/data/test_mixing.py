"""Dealing rows to tasks: exact shares, evenly spread, every row of a task used in order, random access."""

import numpy as np
import pytest

from cslm_jax.data.mixing import CYCLE, Mixture

RATES = [[1.0], [0.5, 0.3, 0.2], [8, 1e-9], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]


@pytest.mark.parametrize("rates", RATES)
def test_any_beginning_has_its_shares(rates):
    mixture = Mixture(rates)
    share = mixture.counts / CYCLE
    tasks = np.array([mixture[n][0] for n in range(CYCLE)])
    for task in range(len(rates)):
        counted = np.cumsum(tasks == task)
        assert np.abs(counted - share[task] * np.arange(1, CYCLE + 1)).max() <= len(rates) + 1


@pytest.mark.parametrize("rates", RATES)
def test_counts_are_the_rates_to_within_one_row_of_a_cycle(rates):
    counts = Mixture(rates).counts
    assert counts.sum() == CYCLE and counts.min() >= 1
    assert np.abs(counts - np.maximum(np.array(rates) / np.sum(rates) * CYCLE, 1)).max() <= 1


def test_index_counts_the_rows_of_the_task_before():
    mixture = Mixture([0.7, 0.2, 0.1])
    seen = [0, 0, 0]
    for n in range(2 * CYCLE + 100):
        task, index = mixture[n]
        assert index == seen[task]
        seen[task] += 1
