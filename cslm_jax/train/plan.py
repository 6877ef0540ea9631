"""`cslm plan`: does a config fit on a pod, and about how fast is it? Asked of the compiler, before a pod is queued."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from cslm_jax.config import Experiment
from cslm_jax.data import files
from cslm_jax.errors import CslmError
from cslm_jax.train import plan_search
from cslm_jax.train.chips import chip_of
from cslm_jax.train.plan_step import Plan, plan_for, with_kernel
from cslm_jax.train.plan_table import table
from cslm_jax.train.topologies import devices_of, start_for

logger = logging.getLogger(__name__)


def plan(
    config: Experiment, topology: str = "v5e:8x8", json: str | None = None, search: bool = False, best: int = 3, most: int = 30
) -> None:
    """Compiles the train step for machines that are not here, and prints what it needs of them.

    Args:
        topology: one or more, with commas: TPU slices (v5e:8x8,v5p:4x4x4,v6e:4x4), GPUs (h100:8, or h100:4x8 for 4 hosts),
            cpu:1.
        json: file for the same figures; written anew after every program.
        search: try meshes, remat policies and micro-batches too, the fastest by estimate first.
        best: how many that fit a search looks for, per topology; of each mesh and micro-batch it takes one.
        most: how many programs a search compiles, per topology.
    """
    names = topology.split(",")
    for name in names:
        chip_of(name)  # a mistyped one is told before anything is compiled
    start_for(names)
    plans: list[Plan] = []
    _write(plans, json)
    failed: list[str] = []
    for name in names:
        try:
            for found in _searched(config, name, best, most) if search else _alone(config, name):
                plans.append(found)
                _write(plans, json)
        except CslmError as error:
            failed.append(str(error))
            logger.error("%s", error)
    if plans:
        print(table(plans))
    if failed:
        raise CslmError(f"{len(failed)} of {len(names)} topologies could not be planned; the messages above say why")


def _write(plans: Sequence[Plan], json: str | None) -> None:
    if json is not None:
        files.write_json(Path(json), [dataclasses.asdict(found) for found in plans])


def _alone(config: Experiment, topology: str) -> Iterator[Plan]:
    with tqdm(total=1, desc=f"plan {topology}", unit="program") as bar:
        yield plan_for(config, topology)
        bar.update()


def _searched(config: Experiment, topology: str, best: int, most: int) -> Iterator[Plan]:
    devices = devices_of(topology)
    candidates = list(plan_search.candidates(with_kernel(config, devices[0]), topology, devices))
    fitting = tried = 0
    with tqdm(desc=f"plan {topology}", unit="program") as bar:
        for candidate in plan_search.by_promise(candidates):
            if fitting == best or tried == most:
                break
            found = plan_for(candidate.config, topology)
            candidate.fits = found.fits
            tried, fitting = tried + 1, fitting + found.fits
            bar.update()
            if found.fits:
                yield found
    if not fitting:
        raise CslmError(
            f"{topology}: none of the {tried} most promising of {len(candidates)} ways to split the step fits; take a larger "
            "slice, a smaller data.global_batch or data.row_length, or let --most be larger"
        )
