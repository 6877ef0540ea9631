"""`cslm show-batch`: the rows of one step as text, to see with one's own eyes what the model is trained on."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from cslm_jax.config import Experiment
from cslm_jax.data.ensure import ensure_caches
from cslm_jax.data.loader import Batch, Loader
from cslm_jax.errors import CslmError
from cslm_jax.vocabulary import JointVocabulary

_LOSS, _NO_LOSS, _BOLD, _PLAIN = "\033[32m", "\033[2m", "\033[1m", "\033[0m"


def show_batch(config: Experiment, step: int = 0, processes: int = 1, process: int = 0) -> None:
    """Prints the rows of one process, segment by segment, and the sha256 of the global batch's tokens.

    Args:
        step: of training, from 0.
        processes: how many processes the run has.
        process: whose rows are printed, from 0.
    """
    if not 0 <= process < processes or step < 0:
        raise CslmError("--process must be within 0 .. processes-1, and --step at least 0")
    ensure_caches(config.data)
    vocabulary = JointVocabulary.load(config.data.vocabulary)
    loader = Loader(config.data, vocabulary, process, processes)
    batch = loader.batch(step)
    for row, number in enumerate(loader.rows):
        for line in describe(batch, row, number, step, loader, vocabulary, colour=sys.stdout.isatty()):
            print(line)
    print(f"sha256 {loader.global_sha256(step)}")


def describe(
    batch: Batch, row: int, number: int, step: int, loader: Loader, vocabulary: JointVocabulary, colour: bool
) -> Iterator[str]:
    """Lines for one row: what it is, then each segment with its record, its tokens and their loss weights.

    Args:
        row: in the batch.
        number: of the same row in the global batch.
        colour: green where there is loss, dim where there is none.
    """
    segments, weights = batch["segment_ids"][row], batch["loss_weights"][row]
    used = int((segments > 0).sum())
    title = f"row {number}  {loader.tasks[batch['task'][row]]}  {used} of {len(segments)} tokens"
    yield f"{_BOLD}{title}{_PLAIN}" if colour else title
    ids = loader.record_ids(step, number)
    for segment in range(1, segments.max() + 1):
        mine = segments == segment
        name = ids[segment - 1] if ids else "random"
        yield f"  segment {segment}  {name}  {mine.sum()} tokens, {int((weights[mine] > 0).sum())} with loss"
        yield from _runs(batch["tokens"][row][mine], weights[mine], vocabulary, colour)


def _runs(tokens: np.ndarray, weights: np.ndarray, vocabulary: JointVocabulary, colour: bool) -> Iterator[str]:
    """A line for each stretch of tokens with the same loss weight."""
    cuts = np.flatnonzero(np.diff(weights)) + 1
    for run, weight in zip(np.split(tokens, cuts), np.split(weights, cuts), strict=True):
        line = f"    {weight[0]:g} | " + vocabulary.decode(run).replace("\n", "\\n")
        yield f"{_LOSS if weight[0] else _NO_LOSS}{line}{_PLAIN}" if colour else line
