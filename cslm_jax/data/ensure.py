"""Caches that are asked for and not there are made in another process, so that training imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cslm_jax.data import caches, shards
from cslm_jax.data.catalogue import READS, mixture_weights, tasks
from cslm_jax.data.config import DataConfig
from cslm_jax.errors import CslmError
from cslm_jax.vocabulary import JointVocabulary

logger = logging.getLogger(__name__)


def ensure_caches(config: DataConfig) -> None:
    """Makes the missing caches of the config's mixture: after a change of response form or chunk size, those of the
    speech-to-speech tasks. Where nothing is missing it does nothing. Call it in one process of a run only.

    Raises:
        CslmError: they cannot be made; the message is that of the process that tried.
    """
    if not config.synthetic:
        weights = mixture_weights(config.mixture, config.languages, config.weights)
        make_missing_caches(config, list(weights))


def make_missing_caches(config: DataConfig, names: Sequence[str] | None = None) -> None:
    """Makes those caches of `names` (by default, of all tasks with records) that are not there."""
    names = _missing(config, with_records(config) if names is None else names)
    if names:
        logger.info("making the token caches of %s", ", ".join(names))
        _make_in_another_process(config, names)


def _make_in_another_process(config: DataConfig, names: Sequence[str]) -> None:
    request = json.dumps([dataclasses.asdict(config), names])
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    program = [sys.executable, "-m", "cslm_jax.data.make_caches"]
    made = subprocess.run(program, input=request, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if made.returncode:
        raise CslmError(made.stdout.strip() or f"{' '.join(program)} failed; what it printed is above")


def with_records(config: DataConfig) -> list[str]:
    """Tasks of whose kinds there is any record."""
    records = Path(config.records)
    return [name for name, spec in tasks(config.languages).items() if shards.count(records, READS[spec.family])]


def _missing(config: DataConfig, names: Sequence[str]) -> list[str]:
    vocabulary = JointVocabulary.load(config.vocabulary)
    known = tasks(config.languages)
    return [name for name in names if not _exists(config, caches.recipe(config, known[name], vocabulary.sha256))]


def _exists(config: DataConfig, recipe: Mapping[str, Any]) -> bool:
    try:
        caches.find(config, recipe)
    except CslmError:
        return False
    return True
