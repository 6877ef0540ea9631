"""Token caches that are asked for and not there are made: by `cslm prepare`, and before training where a form changed.

The examples come from the generator that the seqio tasks wrap (examples.py), read directly: what crosses into
TensorFlow and back example by example costs twice the encoding itself, and training imports no TensorFlow.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from cslm_jax.data import caches, shards
from cslm_jax.data.catalogue import READS, TaskSpec, mixture_weights, tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.data.examples import read_examples
from cslm_jax.errors import BadRecord, CslmError
from cslm_jax.vocabulary import JointVocabulary

logger = logging.getLogger(__name__)


def ensure_caches(config: DataConfig) -> None:
    """Makes the missing caches of the config's mixture: after a change of response form or chunk size, those of the
    speech-to-speech tasks. Where nothing is missing it does nothing. Call it in one process of a run only.

    Raises:
        CslmError: there are no records to make them from, or a shard is damaged.
    """
    if not config.synthetic:
        make_missing_caches(config, list(mixture_weights(config.mixture, config.languages, config.weights)))


def make_missing_caches(config: DataConfig, names: Sequence[str] | None = None) -> None:
    """Makes those caches of `names` (by default, of all tasks with records) that are not there."""
    vocabulary = JointVocabulary.load(config.vocabulary)
    known = tasks(config.languages)
    for name in with_records(config) if names is None else names:
        _make_if_missing(config, known[name], vocabulary)


def with_records(config: DataConfig) -> list[str]:
    """Tasks of whose kinds there is any record."""
    records = Path(config.records)
    return [name for name, spec in tasks(config.languages).items() if shards.count(records, READS[spec.family])]


def _make_if_missing(config: DataConfig, task: TaskSpec, vocabulary: JointVocabulary) -> None:
    recipe = caches.recipe(config, task, vocabulary.sha256)
    try:
        caches.find(config, recipe)
        return
    except CslmError:
        # Without records nothing can be made, and what `find` says is the better explanation.
        if recipe["records"] is None:
            raise
    rejected: list[dict] = []

    def set_aside(id: str, error: BadRecord) -> None:
        rejected.append({"id": id, "file": config.records, "stage": error.stage, "reason": error.reason})

    examples = read_examples(task, config.split, config, vocabulary, set_aside)
    shown = tqdm(examples, desc=f"tokens of {task.name}", unit=" examples", unit_scale=True)
    caches.write(caches.directory(config, recipe), recipe, shown, rejected)
    if rejected:
        logger.warning("%s: %d records are set aside, see rejected.jsonl", task.name, len(rejected))
