"""The experiment: one frozen tree of the small configs that live beside the code they configure.

A config file is Python with `get_config() -> Experiment`; the command line overrides any field of it
(`--config.train.steps=10`). A run writes the tree that it used to WORKDIR/config.json.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cattrs

from cslm_jax import config_file
from cslm_jax.data import files
from cslm_jax.data.catalogue import all_weights, nearest, tasks, weights_per
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
    """The joint vocabulary: the text part, and how the table is padded."""

    text: str | None = None
    """Llama 3's published tokenizer.json or tokenizer.model, or a folder with one; None trains SentencePiece."""
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
    """Where the command writes: checkpoints, metrics, reports. Folders of `data` may lie in it: {workdir}/records."""
    corpora: tuple[CorpusConfig, ...] = ()
    """What is prepared."""
    corpus: CorpusConfig | None = None
    """One corpus more, whose fields are flags (`--config.corpus.path=...`)."""
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


def load(path: str | Path, mixture: str | None = None, languages: Sequence[str] | None = None) -> Experiment:
    """The experiment of a config file (.py, or the config.json of a run), with the weight of every task written out,
    so that each can be overridden.

    Args:
        mixture, languages: in place of the file's own. They decide which weights there are, so they come before any
            other override; the file's weights were chosen for its mixture and do not go with another one.

    Raises:
        CslmError: the file is missing, broken or has a wrong field; the message says where, and the nearest field.
    """
    path = Path(path)
    if not path.is_file():
        raise CslmError(f"no config file {path}; the ones that come with cslm_jax are in configs/")
    config = _read(path)
    all_weights(config.data.mixture, config.data.languages, config.data.weights)  # a mistake of the file comes first
    data = _with(config.data, mixture, languages)
    known = tasks(data.languages) if data.mixture == config.data.mixture else ()
    kept = {name: weight for name, weight in data.weights.items() if name in known}
    weights = all_weights(data.mixture, data.languages, kept)
    per = data.weights_per if data.mixture == config.data.mixture else None
    written_out = dataclasses.replace(data, weights=weights, weights_per=per or weights_per(data.mixture))
    return dataclasses.replace(config, data=written_out)


def _with(data: DataConfig, mixture: str | None, languages: Sequence[str] | None) -> DataConfig:
    mixture = data.mixture if mixture is None else mixture
    languages = data.languages if languages is None else tuple(languages)
    try:
        return dataclasses.replace(data, mixture=mixture, languages=languages)
    except ValueError as error:
        raise CslmError(str(error)) from error


def _read(path: Path) -> Experiment:
    if path.suffix == ".json":
        return _read_json(path)
    config = config_file.get_config(path, Experiment)
    if not isinstance(config, Experiment):
        raise CslmError(f"{path}: get_config() must return a cslm_jax.config.Experiment, not {type(config).__name__}")
    return config


def _read_json(path: Path) -> Experiment:
    try:
        return from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, CslmError) as error:
        raise CslmError(f"{path}: {error}") from error


def settle(config: Experiment) -> Experiment:
    """The experiment once all overrides are in: `corpus` is one of the corpora, and {workdir} has its value."""
    corpora = (*config.corpora, *([config.corpus] if config.corpus else ()))
    fields = {field.name: getattr(config.data, field.name) for field in dataclasses.fields(config.data)}
    folders = {name: value.replace("{workdir}", config.workdir) for name, value in fields.items() if isinstance(value, str)}
    return dataclasses.replace(config, corpora=corpora, corpus=None, data=dataclasses.replace(config.data, **folders))


def save(config: Experiment, directory: str | Path) -> None:
    """Writes DIRECTORY/config.json."""
    files.write_json(Path(directory) / "config.json", to_dict(config))


def load_run(directory: str | Path) -> Experiment:
    """The experiment that a run was started with, from its DIRECTORY/config.json."""
    path = Path(directory) / "config.json"
    try:
        return _read_json(path)
    except OSError as error:
        raise CslmError(f"{directory} is not the workdir of a run: {path} cannot be read ({error})") from error


def to_dict(config: Experiment) -> dict[str, Any]:
    return dataclasses.asdict(config)


def from_dict(tree: dict[str, Any]) -> Experiment:
    """The inverse of `to_dict`; a field that this version does not know is an error that names it and the nearest."""
    if not isinstance(tree, dict):
        raise CslmError(f"a config is an object with the fields of Experiment, not a {type(tree).__name__}")
    try:
        return cattrs.Converter(forbid_extra_keys=True).structure(tree, Experiment)
    except cattrs.errors.ClassValidationError as error:
        said = cattrs.transform_error(error, path="config", format_exception=_in_words)
        raise CslmError("; ".join(said)) from error


def _in_words(error: BaseException, kind: type | None) -> str:
    if isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
        known = [field.name for field in dataclasses.fields(error.cl)]
        return " ".join(f"no field {name!r}.{nearest(name, known)}" for name in sorted(error.extra_fields))
    return cattrs.v.format_exception(error, kind)
