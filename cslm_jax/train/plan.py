"""`cslm plan`: does a config fit on a pod, and about how fast is it? Asked of the TPU compiler, before a pod is queued."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from tqdm import tqdm

from cslm_jax.config import Experiment
from cslm_jax.data import files
from cslm_jax.errors import CslmError
from cslm_jax.model import attention, llama
from cslm_jax.model.flops import matrix_parameters, training_flops
from cslm_jax.train import sharding
from cslm_jax.train.chips import Chip, chip_of
from cslm_jax.train.optimizer import make_optimizer
from cslm_jax.train.start import abstract_state, jit_train_step, state_shardings

logger = logging.getLogger(__name__)

EFFICIENCY = 0.65
"""Share of a chip's peak that matrix products reach in well-tuned public runs (40% to 70%); the estimate assumes it."""
TASKS = 16
"""Tasks that the step reports losses of; they weigh nothing."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one topology makes of a config; figures of the compiled program are None if the compiler gave up."""

    topology: str
    chips: int
    mesh: dict[str, int]
    remat: str
    per_device_batch: float
    """Rows of the global batch a chip."""
    fits: bool
    hbm_gib_per_chip: float
    """What there is."""
    peak_gib_per_chip: float | None
    """What the step needs at once: arguments, temporaries, results."""
    arguments_gib_per_chip: float | None
    temporaries_gib_per_chip: float | None
    collective_gib_per_chip: float
    """Bytes that a chip receives from others in a step, by formula (`received`)."""
    compile_seconds: float
    model_tflops_per_step: float
    """Of the whole step, forward and backward, causal attention counted by half."""
    step_seconds_estimate: float
    """The slower of computing at EFFICIENCY of the peak and of sending; a chip does both at once where it can."""
    tokens_per_second_per_chip: float
    mfu_causal: float
    mfu_full: float
    """Model FLOPs utilisation behind the estimate, counting attention by half, or in full as many published figures do."""
    hours: float
    chip_hours: float
    """For all steps of the config."""
    problem: str | None = None
    """Why it does not fit."""


def plan(config: Experiment, topology: str = "v5e:8x8", json: str | None = None) -> None:
    """Compiles the train step for TPU topologies, without a TPU, and prints what it needs; needs the libtpu package.

    Args:
        topology: one or more, with commas: v5e:8x8,v5p:4x4x4,v6e:4x4.
        json: file for the same figures.
    """
    jax.config.update("jax_platforms", "cpu")  # nothing is computed: it must not look for, or hold, the machine's accelerators
    plans = [plan_for(config, name) for name in tqdm(topology.split(","), desc="plan", unit="topology")]
    print(_table(plans))
    if json is not None:
        files.write_json(Path(json), [dataclasses.asdict(found) for found in plans])


def plan_for(config: Experiment, topology: str) -> Plan:
    """The plan of one topology.

    Raises:
        CslmError: there is no such topology, no libtpu, or the config's mesh does not fit the devices.
    """
    chip, model = chip_of(topology), config.model
    if model.vocabulary_size is None:
        raise CslmError("a plan needs model.vocabulary_size: set it in the config, or with --config.model.vocabulary_size=132480")
    if model.lora.rank and model.lora.frozen_rows is None:
        raise CslmError("a plan needs model.lora.frozen_rows: give the published rows, --config.model.lora.frozen_rows=128256")
    if model.attention == "auto":
        model = dataclasses.replace(model, attention=attention.for_platform("tpu"))
    config = dataclasses.replace(config, model=model)
    mesh = sharding.make_mesh(config.mesh, model, config.data.global_batch, config.train.accumulate, _devices(topology))
    began = time.monotonic()
    compiled, problem = _compile(config, mesh)
    seconds = time.monotonic() - began
    return _figures(config, topology, chip, mesh, compiled, problem, seconds)


def _devices(topology: str) -> Sequence[jax.Device]:
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no TPU to ask
    try:
        return topologies.get_topology_desc(topology, platform="tpu").devices
    except Exception as error:  # what it raises depends on the version of libtpu
        raise CslmError(
            f"topology {topology!r} cannot be compiled for ({str(error).splitlines()[0]}); "
            "it needs the libtpu package (pip install 'cslm_jax[tpu]') and a shape that exists, such as v5e:8x8 or v5p:4x4x4"
        ) from error


def _compile(config: Experiment, mesh) -> tuple[Any, str | None]:
    """The compiled step, or the compiler's word that the memory is not enough."""
    optimizer = make_optimizer(config.optimizer, config.train.steps, llama.declared(config.model))
    state = abstract_state(config.model, optimizer, state_shardings(config.model, mesh, optimizer))
    step = jit_train_step(config, mesh, optimizer, TASKS)
    with jax.set_mesh(mesh):
        lowered = step.lower(state, _abstract_batch(config, mesh))
        try:
            return lowered.compile(), None
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return None, _first_sentence(str(error))


def _abstract_batch(config: Experiment, mesh) -> dict[str, jax.ShapeDtypeStruct]:
    rows, length = config.data.global_batch, config.data.row_length
    shape = functools.partial(jax.ShapeDtypeStruct, sharding=sharding.batch_sharding(mesh))
    streams = {name: shape((rows, length), jnp.int32) for name in ("tokens", "segment_ids", "positions")}
    return streams | {"loss_weights": shape((rows, length), jnp.float32), "task": shape((rows,), jnp.int32)}


def _first_sentence(error: str) -> str:
    needed = re.search(r"total memory required.*?exceeds available HBM \([^)]*\)", error)
    return needed[0] if needed else error.splitlines()[0][:200]


def _figures(config: Experiment, topology: str, chip: Chip, mesh, compiled, problem: str | None, seconds: float) -> Plan:
    chips = mesh.size
    tokens = config.data.global_batch * config.data.row_length
    causal, full = (tokens * training_flops(config.model, config.data.row_length, causal) for causal in (True, False))
    memory = None if compiled is None else compiled.memory_analysis()
    peak = None if memory is None else _peak(memory)
    sent = received(config, dict(mesh.shape))
    peak_flops = chips * chip.bf16_tflops * 1e12
    step = max(causal * _recomputed(config.model.remat) / peak_flops / EFFICIENCY, sent / (chip.ici_gb_s * 1e9))
    hours = step * config.train.steps / 3600
    return Plan(
        topology=topology,
        chips=chips,
        mesh=dict(mesh.shape),
        remat=config.model.remat,
        per_device_batch=config.data.global_batch / chips,
        fits=peak is not None and peak <= chip.hbm_gib * 2**30,
        hbm_gib_per_chip=chip.hbm_gib,
        peak_gib_per_chip=_gib(peak),
        arguments_gib_per_chip=None if memory is None else _gib(memory.argument_size_in_bytes),
        temporaries_gib_per_chip=None if memory is None else _gib(memory.temp_size_in_bytes),
        collective_gib_per_chip=_gib(sent),
        compile_seconds=round(seconds, 1),
        model_tflops_per_step=causal / 1e12,
        step_seconds_estimate=step,
        tokens_per_second_per_chip=tokens / step / chips,
        mfu_causal=causal / step / peak_flops,
        mfu_full=full / step / peak_flops,
        hours=hours,
        chip_hours=hours * chips,
        problem=problem,
    )


def received(config: Experiment, mesh: Mapping[str, int]) -> float:
    """Bytes that each chip takes in a step, where every transfer is as small as it can be.

    fsdp gathers the weights for the forward and for the backward pass of each micro-batch and scatters their gradients;
    data sums the gradients; tensor sums the activations twice a layer in each pass.
    """
    data, fsdp, tensor = (mesh[axis] for axis in ("data", "fsdp", "tensor"))
    model, others = config.model, lambda ways: (ways - 1) / ways
    compute, master = (jnp.dtype(kind).itemsize for kind in (model.compute_dtype, model.param_dtype))
    held = matrix_parameters(model) / tensor
    gathered = config.train.accumulate * others(fsdp) * held * (2 * compute + master)
    summed = 2 * others(data) * held / fsdp * master
    activations = config.data.global_batch * config.data.row_length / (data * fsdp) * model.width * compute
    return gathered + summed + 4 * model.layers * 2 * others(tensor) * activations


def _peak(memory: Any) -> int:
    """Donated arguments share their memory with the results."""
    whole = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return whole - memory.alias_size_in_bytes + memory.generated_code_size_in_bytes


def _recomputed(remat: str) -> float:
    """Operations with rematerialisation, as a multiple of those without: repeating the forward pass adds a third."""
    return 4 / 3 if remat in ("full", "attention") else 1.0


def _gib(size: int | None) -> float | None:
    return None if size is None else round(size / 2**30, 3)


def _table(plans: Sequence[Plan]) -> str:
    rows = [
        ("topology", "chips", "mesh", "rows/chip", "fits", "peak / HBM GiB", "s/step", "tok/s/chip", "MFU causal/full", "hours")
    ]
    for found in plans:
        mesh = " x ".join(f"{axis}={size}" for axis, size in found.mesh.items() if size > 1)
        peak = found.problem or f"{found.peak_gib_per_chip:.1f} / {found.hbm_gib_per_chip:.1f}"
        estimate = (f"{found.step_seconds_estimate:.2f}", f"{found.tokens_per_second_per_chip:.0f}")
        mfu = f"{found.mfu_causal:.0%} / {found.mfu_full:.0%}"
        fits = "yes" if found.fits else "NO"
        rows.append(
            (
                found.topology,
                str(found.chips),
                mesh,
                f"{found.per_device_batch:g}",
                fits,
                peak,
                *estimate,
                mfu,
                f"{found.hours:.0f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
