"""The experiment: one frozen tree of the small configs that live beside the code they configure.

A config file is Python with `get_config() -> Experiment`; the command line overrides any field of it
(`--config.train.steps=10`). A run writes the tree that it used to WORKDIR/config.json.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import cattrs

from cslm_jax.data.catalogue import all_weights
from cslm_jax.data.config import DataConfig
from cslm_jax.data.corpora import CorpusConfig
from cslm_jax.errors import CslmError
from cslm_jax.evaluate.config import EvaluateConfig
from cslm_jax.generate.sampling import SamplingConfig
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.speech.decoder import DecoderConfig
from cslm_jax.speech.tokenizer import TokenizerConfig
from cslm_jax.train.config import TrainConfig
from cslm_jax.train.optimizer import OptimizerConfig
from cslm_jax.train.sharding import MeshConfig


@dataclasses.dataclass(frozen=True)
class VocabularyConfig:
    """The joint vocabulary, where this project trains its text part itself."""

    pieces: int = 1024
    """SentencePiece pieces, the 256 bytes included."""
    pad_to: int = 128
    """The table is padded to a multiple of this, so that it can be split over a mesh."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides what a command does."""

    name: str
    """Of the experiment, for logs and plots."""
    workdir: str
    """Where the command writes: checkpoints, metrics, reports."""
    corpora: tuple[CorpusConfig, ...] = ()
    """What is prepared."""
    vocabulary: VocabularyConfig = VocabularyConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    decoder: DecoderConfig = DecoderConfig()
    data: DataConfig = DataConfig()
    model: LlamaConfig = LlamaConfig()
    mesh: MeshConfig = MeshConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    sampling: SamplingConfig = SamplingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    seed: int = 0
    """Decides the initial weights."""


def load(path: str | Path) -> Experiment:
    """The experiment of a config file, with the weight of every task written out, so that each can be overridden."""
    path = Path(path)
    if not path.is_file():
        raise CslmError(f"no config file {path}; the ones that come with cslm_jax are in configs/")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    except (ValueError, TypeError, AttributeError) as error:
        raise CslmError(f"{path}: {error}") from error
    if not isinstance(config, Experiment):
        raise CslmError(f"{path}: get_config() must return a cslm_jax.config.Experiment, not {type(config).__name__}")
    weights = all_weights(config.data.mixture, config.data.languages, config.data.weights)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, weights=weights))


def save(config: Experiment, directory: str | Path) -> None:
    """Writes DIRECTORY/config.json."""
    path = Path(directory) / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(to_dict(config), indent=2, ensure_ascii=False))
    os.replace(temporary, path)


def load_run(directory: str | Path) -> Experiment:
    """The experiment that a run was started with, from its DIRECTORY/config.json."""
    path = Path(directory) / "config.json"
    try:
        return from_dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise CslmError(f"{directory} is not the workdir of a run: {path} cannot be read ({error})") from error


def to_dict(config: Experiment) -> dict[str, Any]:
    return dataclasses.asdict(config)


def from_dict(tree: dict[str, Any]) -> Experiment:
    """The inverse of `to_dict`; a field that this version does not know is an error that names it."""
    try:
        return cattrs.Converter(forbid_extra_keys=True).structure(tree, Experiment)
    except cattrs.errors.ClassValidationError as error:
        raise CslmError("; ".join(cattrs.transform_error(error, path="config"))) from error
