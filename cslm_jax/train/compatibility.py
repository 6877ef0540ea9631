"""Which differences between a config and a checkpoint are mistakes, and which are a user's right."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from cslm_jax.errors import CslmError
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.lora import LoraConfig
from cslm_jax.train.checkpoint import Origin

logger = logging.getLogger(__name__)

NUMERICS = ("compute_dtype", "attention", "remat", "unroll", "max_positions")
"""Fields of the model that change how it is computed or described, not what it is."""
STRUCTURAL = ("optimizer.algorithm", "optimizer.moment_dtype")
"""Fields outside the model that change what a checkpoint holds."""
CONVERTED = ("model.vocabulary_size", "model.param_dtype", "model.lora.frozen_rows")
"""Fields of the model that may differ from those of the run it begins from: the table grows, the weights are cast."""
FREE = ("name", "workdir", "mesh", "evaluate", "sampling", "corpora", "corpus", "tokenizer", "decoder", "vocabulary")
"""Parts of the experiment that do not touch a run's losses."""


def check_resume(origin: Origin, experiment: Mapping[str, Any], vocabulary_sha256: str, where: str) -> None:
    """Refuses a config that is not the checkpoint's; names what else was changed, which takes effect from here on.

    Raises:
        CslmError: another architecture, vocabulary or layout of the optimizer state; the message names the field.
    """
    _check_vocabulary(origin, vocabulary_sha256, where)
    made_with, wanted = (tree | {"model": _described(tree)} for tree in (dict(origin.experiment), dict(experiment)))
    for field, (old, new) in _differences(made_with, wanted):
        if field.split(".")[0] in FREE:
            continue
        if field in STRUCTURAL or _is_architecture(field):
            raise CslmError(
                f"config.{field} is {new}, but the checkpoints in {where} were made with {old}; "
                "set it back, or give the run another workdir"
            )
        logger.warning("config.%s was %s when this run was last saved and is %s from here on", field, old, new)


def check_start(origin: Origin, model: LlamaConfig, vocabulary_sha256: str, where: str) -> None:
    """Refuses to start `model` from a run of another architecture; the vocabulary may have grown, adapters may begin or end.

    A model that was imported as it is (`cslm convert from-hf --units=0`) names no vocabulary and goes with any.

    Raises:
        CslmError: naming the field.
    """
    if origin.vocabulary_sha256:
        _check_vocabulary(origin, vocabulary_sha256, where)
    both_adapted = origin.model.lora.rank and model.lora.rank
    made_with, wanted = ({"model": _described(tree)} for tree in (origin.experiment, {"model": dataclasses.asdict(model)}))
    for field, (old, new) in _differences(made_with, wanted):
        adapters = field.startswith("model.lora.")
        if _is_architecture(field) and field not in CONVERTED and (both_adapted or not adapters):
            merge = ", or set model.lora.rank=0: it merges the adapters and trains everything" if adapters else ""
            said = f"config.{field} is {new}, but the model in {where} (train.init_from) has {old}; make them equal{merge}"
            raise CslmError(said)


def _check_vocabulary(origin: Origin, sha256: str, where: str) -> None:
    if origin.vocabulary_sha256 != sha256:
        raise CslmError(
            f"the model in {where} was trained with another vocabulary (sha256 {origin.vocabulary_sha256[:12]}...) "
            f"than data.vocabulary holds ({sha256[:12]}...); point data.vocabulary at the one it was trained with"
        )


def _is_architecture(field: str) -> bool:
    parts = field.split(".")
    return parts[0] == "model" and parts[1] not in NUMERICS


def _described(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The model of an experiment: fields that it is too old to have as they are by default, and so those of absent adapters."""
    model = Origin(experiment, "").model
    return dataclasses.asdict(model if model.lora.rank else dataclasses.replace(model, lora=LoraConfig()))


def _differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Dotted names of the leaves that differ, with both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            yield from _differences(old.get(name), new.get(name), f"{path}.{name}".lstrip("."))
    elif _plain(old) != _plain(new):
        yield path, (old, new)


def _plain(value: Any) -> Any:
    """JSON knows no tuples."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
