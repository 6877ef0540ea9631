"""What a run reports: WORKDIR/metrics.jsonl, one line a step, and the same in TensorBoard."""

import json
import os
import time
from pathlib import Path

import jax
import numpy as np

from cslm_jax.train.step import Metrics


class MetricsLog:
    """Writes the figures of each step; lines of steps that will be run again are dropped first.

    A line holds step (the batch's number, from 0), loss and loss/TASK (nats a weighted token), learning_rate, grad_norm
    (before clipping), tokens (of this batch, without padding) and tokens_per_second (since the line before).
    """

    def __init__(self, workdir: str | Path, tasks: tuple[str, ...], first_step: int, tensorboard: bool = True):
        path = Path(workdir) / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        _truncate(path, first_step)
        self._tasks = tasks
        self._file = path.open("a", encoding="utf-8")
        self._board = _board(path.parent / "tensorboard", first_step) if tensorboard else None
        self._clock, self._tokens = time.perf_counter(), 0

    def count(self, tokens: int) -> None:
        """Counts a step's tokens for the speed, whether or not the step gets a line."""
        self._tokens += tokens

    def write(self, step: int, metrics: Metrics) -> None:
        now = time.perf_counter()
        line = {
            "step": step,
            "loss": float(metrics.loss),
            "learning_rate": float(metrics.learning_rate),
            "grad_norm": float(metrics.grad_norm),
            "tokens": int(metrics.tokens),
            "tokens_per_second": self._tokens / (now - self._clock),
        }
        losses = zip(self._tasks, np.asarray(metrics.task_loss), strict=True)
        line |= {f"loss/{task}": float(loss) for task, loss in losses if np.isfinite(loss)}
        self._clock, self._tokens = now, 0
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in line.items():
            if self._board and name != "step":
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()


class NoLog:
    """Stands in for `MetricsLog` on every process but the first."""

    def count(self, tokens: int) -> None: ...
    def write(self, step: int, metrics: Metrics) -> None: ...
    def close(self) -> None: ...


def make_log(workdir: str | Path, tasks: tuple[str, ...], first_step: int, tensorboard: bool) -> MetricsLog | NoLog:
    return MetricsLog(workdir, tasks, first_step, tensorboard) if jax.process_index() == 0 else NoLog()


def _board(directory: Path, first_step: int):
    from tensorboardX import SummaryWriter  # it imports torch, where there is one: a third of the start of a process

    return SummaryWriter(str(directory), purge_step=first_step)


def _truncate(path: Path, first_step: int) -> None:
    """Keeps the lines before `first_step`; a line cut off by a kill goes too."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) < first_step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(temporary, path)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
