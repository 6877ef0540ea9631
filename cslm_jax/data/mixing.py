"""Which task each row of the run belongs to: a pure function of the row's number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CYCLE = 10_000
"""Rows after which the order of the tasks repeats; a share is exact to half of 1/CYCLE."""


class Mixture:
    """Deals rows to tasks by their rates, evenly and with random access.

    Invariant: each cycle of CYCLE rows holds counts[t] rows of task t, spread evenly over it, and row n of the run
    is row `index` of its task, where `index` counts that task's rows before n. So among any first n rows, task t has
    its share of n, give or take one row for every task.

    Args:
        rates: rows of each task, relative to each other; all above 0.
    """

    def __init__(self, rates: Sequence[float]):
        share = np.asarray(rates, np.float64) / np.sum(rates)
        self.counts = _apportion(share, CYCLE)
        # The k-th of a task's rows stands in the middle of the k-th of equal parts of the cycle.
        task = np.repeat(np.arange(len(share)), self.counts)
        index = np.concatenate([np.arange(count) for count in self.counts])
        order = np.argsort((index + 0.5) / self.counts[task], kind="stable")
        self._task, self._index = task[order], index[order]

    def __getitem__(self, row: int) -> tuple[int, int]:
        """(task, index of the row within the task) of row `row` of the run."""
        cycle, place = divmod(row, CYCLE)
        task = int(self._task[place])
        return task, int(cycle * self.counts[task] + self._index[place])


def _apportion(share: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to `total`, nearest to share * total (largest remainders); none is 0."""
    exact = np.maximum(share * total, 1.0)
    exact *= total / exact.sum()
    counts = np.maximum(np.floor(exact), 1).astype(np.int64)
    for i in np.argsort(counts - exact)[: max(0, total - counts.sum())]:
        counts[i] += 1
    counts[np.argmax(counts)] += total - counts.sum()
    return counts
