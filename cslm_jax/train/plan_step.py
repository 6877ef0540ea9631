"""One topology of `cslm plan`: the train step compiled for it, and what the compiler says of its memory."""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
import time
from typing import Any

import jax
import jax.numpy as jnp
import psutil

from cslm_jax.config import Experiment
from cslm_jax.errors import CslmError
from cslm_jax.model import attention, llama
from cslm_jax.model.flops import training_flops
from cslm_jax.train import sharding
from cslm_jax.train.chips import chip_of
from cslm_jax.train.optimizer import make_optimizer
from cslm_jax.train.roofline import Estimate, estimate, one_host, received
from cslm_jax.train.start import abstract_state, jit_train_step, mesh_of, state_shardings
from cslm_jax.train.topologies import devices_of

logger = logging.getLogger(__name__)

TASKS = 16
"""Tasks that the step reports losses of; they weigh nothing."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one topology makes of a config; figures of the compiled program are None if the compiler gave up, estimates are
    None on a CPU."""

    topology: str
    chips: int
    mesh: dict[str, int]
    remat: str
    accumulate: int
    per_device_batch: float
    """Rows that a chip works on at once: of a micro-batch, shared with the chips that split these rows or heads."""
    global_batch: int
    row_length: int
    attention: str
    """The kernel that was compiled."""
    fits: bool
    hbm_gib_per_chip: float
    """What there is."""
    peak_gib_per_chip: float | None
    """What the step needs at once: arguments, temporaries, results."""
    arguments_gib_per_chip: float | None
    temporaries_gib_per_chip: float | None
    host_gib_per_chip: float | None
    """What waits in the memory of the host (model.remat=offload)."""
    collective_gib_per_chip: float
    """Bytes that a chip receives from others in a step, by formula (roofline.received)."""
    compile_seconds: float
    model_tflops_per_step: float
    """Of the whole step, forward and backward, causal attention counted by half."""
    step_seconds_estimate: float | None
    tokens_per_second_per_chip: float | None
    mfu_causal: float | None
    mfu_full: float | None
    hours: float | None
    chip_hours: float | None
    """For all steps of the config."""
    problem: str | None = None
    """Why it does not fit."""


def plan_for(config: Experiment, topology: str) -> Plan:
    """The plan of one topology.

    Raises:
        CslmError: there is no such topology, what compiles for it is not installed, or the config's mesh does not fit it.
    """
    devices = devices_of(topology)
    config = with_kernel(config, devices[0])
    mesh = mesh_of(config, devices)
    began = time.monotonic()
    compiled, problem = _compile(config, mesh)
    return _figures(config, topology, mesh, compiled, problem, time.monotonic() - began)


def with_kernel(config: Experiment, device: jax.Device) -> Experiment:
    """The config with the attention kernel that it would take on this device."""
    model = config.model
    if model.vocabulary_size is None:
        raise CslmError("a plan needs model.vocabulary_size: set it in the config, or with --config.model.vocabulary_size=132480")
    if model.lora.rank and model.lora.frozen_rows is None:
        raise CslmError("a plan needs model.lora.frozen_rows: give the published rows, --config.model.lora.frozen_rows=128256")
    if model.attention == "auto":
        kernel, problem = attention.for_device(device, model.compute_dtype, model.head_dim)
        if problem is not None:
            logger.warning("%s; planned with %s, which keeps all scores in memory", problem, kernel)
        model = dataclasses.replace(model, attention=kernel)
    return dataclasses.replace(config, model=model)


def _compile(config: Experiment, mesh) -> tuple[Any, str | None]:
    """The compiled step, or the compiler's word why there is none: mostly, that the memory is not enough."""
    optimizer = make_optimizer(config.optimizer, config.train.steps, llama.declared(config.model))
    state = abstract_state(config.model, optimizer, state_shardings(config.model, mesh, optimizer))
    step = jit_train_step(config, mesh, optimizer, TASKS)
    with jax.set_mesh(mesh):
        try:
            return step.lower(state, _abstract_batch(config, mesh)).compile(), None
        except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
            return None, _first_sentence(str(error))


def _abstract_batch(config: Experiment, mesh) -> dict[str, jax.ShapeDtypeStruct]:
    rows, length = config.data.global_batch, config.data.row_length
    shape = functools.partial(jax.ShapeDtypeStruct, sharding=sharding.batch_sharding(mesh))
    streams = {name: shape((rows, length), jnp.int32) for name in ("tokens", "segment_ids", "positions")}
    return streams | {"loss_weights": shape((rows, length), jnp.float32), "task": shape((rows,), jnp.int32)}


def _first_sentence(error: str) -> str:
    needed = re.search(r"total memory required.*?exceeds available HBM \([^)]*\)", error)
    return needed[0] if needed else error.splitlines()[0][:200]


def _figures(config: Experiment, topology: str, mesh, compiled, problem: str | None, seconds: float) -> Plan:
    chip, chips, shape = chip_of(topology), mesh.size, dict(mesh.shape)
    memory = None if compiled is None else compiled.memory_analysis()
    peak = None if memory is None else _peak(memory)
    room = psutil.virtual_memory().total / 2**30 / chips if chip is None else chip.hbm_gib
    timed = None if chip is None else estimate(config, shape, chips, chip, one_host(mesh.devices.flat))
    hours = None if timed is None else timed.seconds * config.train.steps / 3600
    tokens = config.data.global_batch * config.data.row_length
    fits = peak is not None and peak <= room * 2**30
    return Plan(
        topology=topology,
        chips=chips,
        mesh=shape,
        remat=config.model.remat,
        accumulate=config.train.accumulate,
        per_device_batch=config.data.global_batch / (shape["data"] * shape["fsdp"] * config.train.accumulate),
        global_batch=config.data.global_batch,
        row_length=config.data.row_length,
        attention=config.model.attention,
        fits=fits,
        hbm_gib_per_chip=round(room, 3),
        peak_gib_per_chip=_gib(peak),
        arguments_gib_per_chip=None if memory is None else _gib(memory.argument_size_in_bytes),
        temporaries_gib_per_chip=None if memory is None else _gib(memory.temp_size_in_bytes),
        host_gib_per_chip=None if memory is None else _gib(memory.host_temp_size_in_bytes),
        collective_gib_per_chip=_gib(received(config, shape)),
        compile_seconds=round(seconds, 1),
        model_tflops_per_step=tokens * training_flops(config.model, config.data.row_length, causal=True) / 1e12,
        hours=hours,
        chip_hours=None if hours is None else hours * chips,
        problem=problem if problem or fits else f"needs {_gib(peak)} GiB",
        **_speed(timed),
    )


def _speed(timed: Estimate | None) -> dict[str, float | None]:
    return {
        "step_seconds_estimate": timed and timed.seconds,
        "tokens_per_second_per_chip": timed and timed.tokens_per_second_per_chip,
        "mfu_causal": timed and timed.mfu_causal,
        "mfu_full": timed and timed.mfu_full,
    }


def _peak(memory: Any) -> int:
    """Donated arguments share their memory with the results."""
    whole = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return whole - memory.alias_size_in_bytes + memory.generated_code_size_in_bytes


def _gib(size: float | None) -> float | None:
    return None if size is None else round(size / 2**30, 3)
