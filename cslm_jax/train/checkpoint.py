"""Checkpoints: parameters, optimizer state and the experiment that made them, one folder a step.

Orbax writes to a temporary folder and renames it, so a run that is killed in the middle leaves the older checkpoint
untouched. A folder that was damaged afterwards is noticed when it is read, set aside, and the one before it is used.
"""

import contextlib
import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cattrs
import jax
import optax
import orbax.checkpoint as ocp
from etils import epath

from cslm_jax.errors import CslmError
from cslm_jax.model import llama
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.model.parameters import Params, is_declaration, map_declared
from cslm_jax.train.distributed import all_agree, by_first_process
from cslm_jax.train.step import TrainState

logger = logging.getLogger(__name__)

T = TypeVar("T")
NOT_THE_FILES_FAULT = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED")
"""In the messages of errors that leave a checkpoint as good as it was."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a checkpoint says about the run that made it."""

    experiment: dict[str, Any]
    """The experiment as a tree of plain values; model.vocabulary_size is set."""
    vocabulary_sha256: str
    """Fingerprint of the joint vocabulary."""

    @property
    def model(self) -> LlamaConfig:
        return cattrs.structure(self.experiment["model"], LlamaConfig)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model read from a run."""

    config: LlamaConfig
    params: Params
    origin: Origin
    step: int
    """Optimizer steps it has seen."""


class Checkpoints:
    """The checkpoints of a run, in WORKDIR/checkpoints."""

    def __init__(self, workdir: str | Path, keep: int):
        self.directory = _directory(workdir)
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def save(self, state: TrainState, step: int, origin: Origin) -> None:
        """Starts to write the state after `step` steps; returns once it is copied off the devices."""
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            optimizer=ocp.args.StandardSave(state.optimizer),
            origin=ocp.args.JsonSave(dataclasses.asdict(origin)),
        )
        self._manager.save(step, args=items)

    def restore(self, like: TrainState, accept: Callable[[Origin], None]) -> TrainState | None:
        """The newest state that can be read, laid out like `like` (shapes and shardings); None without checkpoints.

        Args:
            accept: raises CslmError if the checkpoint belongs to another kind of run.

        Raises:
            CslmError: from `accept`, or no checkpoint is readable.
        """
        damaged: list[int] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            read = self._try(step, like, accept)
            # A process may have met only whole files, but all must go on from the same step.
            if all_agree(read is not None):
                self._set_aside(damaged, step)
                counter = jax.device_put(jax.numpy.int32(step), like.step.sharding)
                return TrainState(counter, *read)
            damaged.append(step)
        if damaged:
            raise CslmError(f"no checkpoint in {self.directory} can be read; move the directory away to start afresh")
        return None

    def close(self) -> None:
        """Waits until everything is written."""
        self._manager.close()

    def _try(self, step: int, like: TrainState, accept: Callable[[Origin], None]) -> tuple[Params, optax.OptState] | None:
        """Parameters and optimizer state after `step` steps, or None if they cannot be read."""
        folder = self.directory / str(step)

        def read():
            accept(_read_origin(folder))
            return _read_arrays(folder / "params", like.params), _read_arrays(folder / "optimizer", like.optimizer)

        return _unless_damaged(folder, read)

    def _set_aside(self, damaged: list[int], used: int) -> None:
        """Renames damaged folders, so that their steps can be written again."""
        if not damaged:
            return
        by_first_process("setting damaged checkpoints aside", lambda: self._rename(damaged))
        self._manager.reload()
        logger.warning("continuing from the checkpoint of step %d; damaged ones are kept as damaged-STEP", used)

    def _rename(self, damaged: list[int]) -> None:
        for step in damaged:
            names = itertools.chain([f"damaged-{step}"], (f"damaged-{step}-{n}" for n in itertools.count(2)))
            free = next(name for name in names if not (self.directory / name).exists())
            (self.directory / str(step)).rename(self.directory / free)


def read_model(workdir: str | Path, shardings: Callable[[LlamaConfig], Params] | None = None) -> Trained:
    """The newest readable model of a run, without its optimizer state; every process of a job reads it together.

    Args:
        workdir: of the run that made it.
        shardings: where its parameters go; by default all on the first device.

    Raises:
        CslmError: the run has no checkpoint, or none that can be read.
    """
    directory, steps = _newest_first(workdir)
    for step in steps:
        folder = directory / str(step)
        trained = _unless_damaged(folder, functools.partial(_read_trained, folder, step, shardings or _on_one_device))
        if all_agree(trained is not None):
            if step != steps[0]:
                logger.warning("using the model of step %d of %s instead of that of step %d", step, workdir, steps[0])
            return trained
    raise CslmError(f"{directory} holds no checkpoint that can be read")


def newest(workdir: str | Path) -> tuple[epath.Path, Origin]:
    """Folder and origin of the newest checkpoint of a run, without its arrays.

    Raises:
        CslmError: the run has no checkpoint, or its newest one says nothing of its origin.
    """
    directory, steps = _newest_first(workdir)
    folder = directory / str(steps[0])
    origin = _unless_damaged(folder, lambda: _read_origin(folder))
    if origin is None:
        raise CslmError(f"{folder} is damaged; move it away to use the checkpoint before it")
    return folder, origin


def _newest_first(workdir: str | Path) -> tuple[epath.Path, list[int]]:
    """Where a run's checkpoints are, and their steps: at least one."""
    directory = _directory(workdir)
    steps = sorted(ocp.utils.checkpoint_steps(directory), reverse=True) if directory.is_dir() else []
    if not steps:
        raise CslmError(f"{workdir} holds no checkpoints; train it first with `cslm train --config.workdir={workdir}`")
    return directory, steps


def write_origin(folder: epath.Path, origin: Origin) -> None:
    """Completes a checkpoint whose arrays were written one by one (`cslm_jax.train.arrays`)."""
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
        checkpointer.save(folder / "origin", dataclasses.asdict(origin))


def _unless_damaged(folder: epath.Path, read: Callable[[], T]) -> T | None:
    """What `read` gives, or None and a warning if it cannot read the files of a checkpoint.

    What a damaged file raises depends on where it was cut, so everything counts but what is known to have other reasons.
    """
    try:
        return read()
    except (CslmError, MemoryError, PermissionError):
        raise
    except Exception as error:
        if any(word in str(error) for word in NOT_THE_FILES_FAULT):
            raise
        logger.warning("checkpoint %s is damaged (%s: %s)", folder, type(error).__name__, error)
        return None


def _read_trained(folder: epath.Path, step: int, shardings: Callable[[LlamaConfig], Params]) -> Trained:
    origin = _read_origin(folder)
    model = origin.model
    like = jax.tree.map(
        lambda declaration, sharding: jax.ShapeDtypeStruct(declaration.shape, declaration.dtype, sharding=sharding),
        llama.declared(model),
        shardings(model),
        is_leaf=is_declaration,
    )
    return Trained(model, _read_arrays(folder / "params", like), origin, step)


def _read_origin(folder: epath.Path) -> Origin:
    return Origin(**ocp.JsonCheckpointHandler().restore(folder / "origin"))


def _read_arrays(folder: epath.Path, like: Any) -> Any:
    """The arrays of an item. Unlike a Checkpointer it has no barrier, in which the others would wait for one that fails."""
    with contextlib.closing(ocp.StandardCheckpointHandler()) as reader:
        return reader.restore(folder, args=ocp.args.StandardRestore(like))


def _on_one_device(model: LlamaConfig) -> Params:
    only = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return map_declared(lambda _: only, llama.declared(model))


def _directory(workdir: str | Path) -> epath.Path:
    path = epath.Path(workdir)
    return (path if "://" in str(path) else path.resolve()) / "checkpoints"
