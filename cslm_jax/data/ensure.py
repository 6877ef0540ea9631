"""Token caches that are asked for and not there are made: by `cslm prepare`, and before training where a form changed.

The examples come from the generator that the seqio tasks wrap (examples.py), read directly: what crosses into
TensorFlow and back example by example costs twice the encoding itself, and training imports no TensorFlow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from cslm_jax.data import caches, shards
from cslm_jax.data.catalogue import READS, RecordKind, TaskSpec, mixture_weights, tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.data.examples import read_examples
from cslm_jax.errors import BadRecord
from cslm_jax.vocabulary import JointVocabulary

logger = logging.getLogger(__name__)


def ensure_caches(config: DataConfig) -> None:
    """Makes the missing caches of the config's mixture: after a change of response form or chunk size, those of the
    speech-to-speech tasks. Where nothing is missing it does nothing. Call it in one process of a run only.

    Raises:
        CslmError: there are no records to make them from, a shard is damaged, or a task has caches, but of other
            vocabularies only: that is a mistake more often than a wish, and `cslm prepare` serves the wish.
    """
    if not config.synthetic:
        names = mixture_weights(config.mixture, config.languages, config.weights)
        _make_missing(config, names, instead_of_other_vocabularies=False)


def make_missing_caches(config: DataConfig, names: Iterable[str] | None = None) -> None:
    """Makes those caches of `names` (by default, of all tasks with records) that are not there."""
    _make_missing(config, with_records(config) if names is None else names, instead_of_other_vocabularies=True)


def with_records(config: DataConfig) -> list[str]:
    """Tasks of whose kinds there is any record."""
    kinds = {kind for shard in shards.finished(Path(config.records)) for kind in get_args(RecordKind) if shard.count(kind)}
    return [name for name, spec in tasks(config.languages).items() if kinds & set(READS[spec.family])]


def _make_missing(config: DataConfig, names: Iterable[str], instead_of_other_vocabularies: bool) -> None:
    vocabulary, known = JointVocabulary.load(config.vocabulary), tasks(config.languages)
    for name in names:
        recipe = caches.recipe(config, known[name], vocabulary.sha256)
        try:
            caches.find(config, recipe)
        except caches.NoCache as missing:
            # Without records nothing can be made, and what was said about the cache is the better explanation.
            if recipe["records"] is None or (missing.of_other_vocabularies and not instead_of_other_vocabularies):
                raise
            _make(config, known[name], vocabulary, recipe)


def _make(config: DataConfig, task: TaskSpec, vocabulary: JointVocabulary, recipe: Mapping[str, Any]) -> None:
    def read(reject: caches.Reject) -> Iterable[caches.Example]:
        def set_aside(id: str, file: Path, error: BadRecord) -> None:
            reject({"id": id, "file": str(file), "stage": error.stage, "reason": error.reason})

        examples = read_examples(task, config.split, config, vocabulary, set_aside)
        return tqdm(examples, desc=f"tokens of {task.name}", unit=" examples", unit_scale=True)

    directory = caches.directory(config, recipe)
    if rejected := caches.write(directory, recipe, read):
        logger.warning("%s: %d records are set aside, see %s", task.name, rejected, directory / "rejected.jsonl")
