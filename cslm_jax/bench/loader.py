"""`cslm bench loader`: how fast one process reads, packs and mixes batches."""

from __future__ import annotations

import time

from cslm_jax.bench import report
from cslm_jax.bench.data import open_loader, with_rows
from cslm_jax.bench.timing import Spread
from cslm_jax.config import Experiment


def loader(config: Experiment, steps: int = 200, repetitions: int = 10, json: str | None = None) -> None:
    """Times the batches of `cslm train` without the training: the whole global batch in this one process.

    Args:
        steps: batches in each repetition.
        repetitions: what is timed; one more comes before it.
        json: file for the same figures.
    """
    config = with_rows(config)
    source = open_loader(config)
    batches = source.prefetch()
    rates = []
    for _ in range(1 + repetitions):
        began = time.perf_counter()
        tokens = sum(int((next(batches)[1]["segment_ids"] != 0).sum()) for _ in range(steps))
        rates.append(tokens / (time.perf_counter() - began))
    result = {"tokens_per_second": Spread.of(rates[1:]), "density": source.density, "read_threads": config.data.read_threads}
    report.publish("loader", config, report.describe_devices(), [result], json)
