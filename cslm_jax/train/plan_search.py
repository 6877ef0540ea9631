"""Ways to split one step over a topology, in the order in which it is worth to compile them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from cslm_jax.config import Experiment
from cslm_jax.errors import CslmError
from cslm_jax.model import remat
from cslm_jax.model.flops import matrix_parameters, trained_matrix_parameters
from cslm_jax.train import sharding
from cslm_jax.train.chips import chip_of
from cslm_jax.train.roofline import estimate
from cslm_jax.train.sharding import MeshConfig

FROM_MOST_MEMORY = tuple(remat.POLICIES)


@dataclasses.dataclass
class Candidate:
    """One way; `fits` is None until it was compiled."""

    config: Experiment
    seconds: float
    """Of a step, estimated."""
    fits: bool | None = None


def candidates(config: Experiment, topology: str, devices: Sequence[jax.Device]) -> Iterator[Candidate]:
    """Every mesh, remat policy and number of micro-batches that the model and the batch can be divided by, except those whose
    parameters, moments and kept activations alone (a lower bound) are more than the chip has."""
    chip = chip_of(topology)
    if chip is None:
        raise CslmError(f"{topology}: a search needs a chip whose speed is known, not a CPU")
    one_host = len({device.process_index for device in devices}) == 1
    for mesh in _meshes(len(devices)):
        for accumulate in _powers_of_two(config.data.global_batch):
            for policy in FROM_MOST_MEMORY:
                model = dataclasses.replace(config.model, remat=policy)
                train = dataclasses.replace(config.train, accumulate=accumulate)
                tried = dataclasses.replace(config, mesh=mesh, model=model, train=train)
                if _possible(tried, devices) and least_bytes(tried) <= chip.hbm_gib * 2**30:
                    seconds = estimate(tried, dataclasses.asdict(mesh), len(devices), chip, one_host).seconds
                    yield Candidate(tried, seconds)


def by_promise(found: Sequence[Candidate]) -> Iterator[Candidate]:
    """The fastest by estimate first. Leaves out what needs more memory than one that did not fit: the same with a policy that
    keeps more, with larger micro-batches, or with more copies of the weights."""
    refused: list[Candidate] = []
    for candidate in sorted(found, key=lambda c: (round(c.seconds, 3), c.config.mesh.tensor, c.config.train.accumulate)):
        if any(_needs_more(candidate, other) for other in refused):
            continue
        yield candidate
        if candidate.fits is False:
            refused.append(candidate)


def least_bytes(config: Experiment) -> float:
    """Less than a step can need on a chip: parameters, gradients, moments, and what the remat policy keeps of each layer."""
    model, mesh = config.model, config.mesh
    compute, master, moment = (
        jnp.dtype(kind).itemsize for kind in (model.compute_dtype, model.param_dtype, config.optimizer.moment_dtype)
    )
    weights = master * matrix_parameters(model) + (master + 2 * moment) * trained_matrix_parameters(model)
    state = weights / (mesh.fsdp * mesh.context * mesh.tensor)
    positions = config.data.global_batch * config.data.row_length / config.train.accumulate
    heads = (model.heads + 2 * model.kv_heads) * model.head_dim / mesh.tensor
    attended = model.heads * model.head_dim / mesh.tensor
    products = heads + 2 * model.width + 2 * model.mlp_width / mesh.tensor
    kept = {"none": products, "minimal": products, "attention": attended + model.width, "offload": attended, "full": model.width}
    return state + positions / (mesh.data * mesh.fsdp * mesh.context) * model.layers * kept[model.remat] * compute


def _needs_more(candidate: Candidate, other: Candidate) -> bool:
    mine, theirs = candidate.config, other.config
    if (mine.mesh.context, mine.mesh.tensor) != (theirs.mesh.context, theirs.mesh.tensor):
        return False
    if mine.mesh.data < theirs.mesh.data or mine.train.accumulate > theirs.train.accumulate:
        return False
    return FROM_MOST_MEMORY.index(mine.model.remat) <= FROM_MOST_MEMORY.index(theirs.model.remat)


def _meshes(devices: int) -> Iterator[MeshConfig]:
    for tensor in _powers_of_two(devices):
        for context in _powers_of_two(devices // tensor):
            for data in _powers_of_two(devices // tensor // context):
                yield MeshConfig(data, devices // tensor // context // data, context, tensor)


def _powers_of_two(number: int) -> list[int]:
    return [2**n for n in range(number.bit_length()) if number % 2**n == 0]


def _possible(config: Experiment, devices: Sequence[jax.Device]) -> bool:
    sizes = dataclasses.astuple(config.mesh)
    try:
        sharding.check_sizes(sizes, config.model, config.data.global_batch, config.train.accumulate, config.data.row_length)
    except CslmError:
        return False
    return math.prod(sizes) == len(devices)
