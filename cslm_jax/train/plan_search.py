"""Ways to split one step over a topology, in the order in which it is worth to compile them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from cslm_jax.config import Experiment
from cslm_jax.errors import CslmError
from cslm_jax.model import remat
from cslm_jax.model.flops import matrix_parameters, trained_matrix_parameters
from cslm_jax.train import sharding
from cslm_jax.train.chips import chip_of
from cslm_jax.train.roofline import RECOMPUTED, estimate, one_host
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
    """Every mesh that these devices can form, remat policy and number of micro-batches that the model and the batch can be
    divided by, except those whose parameters, moments and kept activations alone (a lower bound) are more than the chip has."""
    chip = chip_of(topology)
    if chip is None:
        raise CslmError(f"{topology}: a search needs a chip whose speed is known, not a CPU")
    for mesh in filter(functools.partial(_possible, config, devices), _meshes(len(devices))):
        for accumulate in _divisors(config.data.global_batch // (mesh.data * mesh.fsdp)):
            for policy in FROM_MOST_MEMORY:
                model = dataclasses.replace(config.model, remat=policy)
                train = dataclasses.replace(config.train, accumulate=accumulate)
                tried = dataclasses.replace(config, mesh=mesh, model=model, train=train)
                if least_bytes(tried) <= chip.hbm_gib * 2**30:
                    found = estimate(tried, dataclasses.asdict(mesh), len(devices), chip, one_host(devices))
                    yield Candidate(tried, found.seconds)


def by_promise(found: Sequence[Candidate]) -> Iterator[Candidate]:
    """The fastest by estimate first, of equals the one that computes least, then the one that keeps least. Leaves out what
    needs more memory than one that did not fit, and the other policies for a mesh and micro-batch of which one fits."""
    seen: list[Candidate] = []
    for candidate in sorted(found, key=_rank):
        if any(_same(candidate, other) if other.fits else _needs_more(candidate, other) for other in seen):
            continue
        yield candidate
        seen.append(candidate)


def _rank(candidate: Candidate) -> tuple[float, ...]:
    train, model = candidate.config.train, candidate.config.model
    return float(f"{candidate.seconds:.3g}"), train.accumulate, RECOMPUTED[model.remat], least_bytes(candidate.config)


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


def _same(candidate: Candidate, other: Candidate) -> bool:
    mine, theirs = candidate.config, other.config
    return mine.mesh == theirs.mesh and mine.train.accumulate == theirs.train.accumulate


def _needs_more(candidate: Candidate, other: Candidate) -> bool:
    """The same with a policy that keeps more, with larger micro-batches, or with more copies of the weights."""
    mine, theirs = candidate.config, other.config
    if (mine.mesh.context, mine.mesh.tensor) != (theirs.mesh.context, theirs.mesh.tensor):
        return False
    if mine.mesh.data < theirs.mesh.data or mine.train.accumulate > theirs.train.accumulate:
        return False
    if (mine.model.remat, theirs.model.remat) == ("offload", "full"):
        return False  # inputs against attention outputs: which is more depends on the mesh
    return FROM_MOST_MEMORY.index(mine.model.remat) <= FROM_MOST_MEMORY.index(theirs.model.remat)


def _meshes(devices: int) -> Iterator[MeshConfig]:
    for tensor in _divisors(devices):
        for context in _divisors(devices // tensor):
            for data in _divisors(devices // tensor // context):
                yield MeshConfig(data, devices // tensor // context // data, context, tensor)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _possible(config: Experiment, devices: Sequence[jax.Device], mesh: MeshConfig) -> bool:
    try:
        sharding.make_mesh(mesh, config.model, config.data.global_batch, 1, devices, row_length=config.data.row_length)
    except CslmError:
        return False
    return True
