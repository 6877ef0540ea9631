"""`cslm bench align`: the best paths of a batch, beside the plain reference one utterance at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cslm_jax.bench import report
from cslm_jax.bench.timing import measure
from cslm_jax.config import Experiment
from cslm_jax.speech import viterbi


def align(
    config: Experiment,
    batch: int = 32,
    frames: int = 1500,
    labels: int = 200,
    alphabet: int = 32,
    repetitions: int = 10,
    json: str | None = None,
) -> None:
    """Times forced alignment of random log-probabilities (30 s at 20 ms a frame), from arrays to paths, padding included.

    Args:
        batch: utterances.
        frames: of each.
        labels: of each text.
        alphabet: labels of the model, with the blank.
        repetitions: what is timed; one more comes before it.
        json: file for the same figures.
    """
    rng = np.random.default_rng(0)
    scores = 2 * rng.normal(size=(batch, frames, alphabet)).astype(np.float32)
    log_probs = list(scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True))
    texts = list(rng.integers(1, alphabet, (batch, labels)).astype(np.int32))

    def reference() -> list[viterbi.Path]:
        return [viterbi.viterbi_numpy(*given) for given in zip(log_probs, texts, strict=True)]

    def batched() -> list[viterbi.Path]:
        return viterbi.align_batch(log_probs, texts, at_once=batch)

    equal = all(map(np.array_equal, batched(), reference()))
    results = [_timed("numpy", reference, batch, repetitions), _timed("batched", batched, batch, repetitions)]
    faster = results[0]["seconds"].median / results[1]["seconds"].median
    results[1] |= {"times_faster": faster, "paths_equal": str(equal)}
    report.publish("align", config, report.describe_devices(), results, json)


def _timed(name: str, call: Callable, batch: int, repetitions: int) -> dict:
    seconds = measure(call, repetitions)
    return {"paths": name, "batch": batch, "seconds": seconds, "utterances_per_second": batch / seconds.median}
