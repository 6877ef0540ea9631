"""`cslm bench step`: how fast the train step is."""

from __future__ import annotations

import jax

from cslm_jax.bench import report
from cslm_jax.bench.timing import measure
from cslm_jax.bench.training import Training
from cslm_jax.config import Experiment
from cslm_jax.train import distributed


def step(config: Experiment, repetitions: int = 10, json: str | None = None) -> None:
    """Times the step of `cslm train`: forward, backward and optimizer over the global batch, the state donated.

    Args:
        config: the experiment; with `--config.data.synthetic=true` it needs no data and no vocabulary.
        repetitions: steps that are timed, each by itself, after two that are not.
        json: file for the same figures.
    """
    distributed.connect(config.train.heartbeat_seconds)
    training = Training(config)
    config = training.config
    batch = training.next_batch()
    tokens = int((batch["segment_ids"] != 0).sum())
    seconds = measure(lambda: training.step(batch), repetitions, warmup=2)
    rate = tokens / seconds.median / jax.device_count()
    result = {
        "step_seconds": seconds,
        "tokens_per_step": tokens,
        "tokens_per_second_per_device": rate,
        **report.model_flops_utilisation(config.model, config.data.row_length, rate),
        "compile_seconds": training.compile_seconds,
        "peak_memory_bytes": report.peak_memory_bytes(),
    }
    if jax.process_index() == 0:
        report.publish("step", config, report.describe_devices(), [result], json)
