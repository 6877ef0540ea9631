"""Several processes as one job: how they find each other, and what they do and decide together.

Processes of your own are told about each other by three variables, the same on all but for the last:

    JAX_COORDINATOR_ADDRESS=HOST:PORT CSLM_PROCESSES=4 CSLM_PROCESS=0 cslm train ...

Without them JAX's own detection is used: TPU pods and slices, SLURM (srun), Open MPI, Kubernetes jobs.
"""

import logging
import os
import threading
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from cslm_jax.errors import CslmError
from cslm_jax.train.sharding import batch_sharding

logger = logging.getLogger(__name__)

ADDRESS, PROCESSES, PROCESS = "JAX_COORDINATOR_ADDRESS", "CSLM_PROCESSES", "CSLM_PROCESS"
ADVICE = (
    f"Start all processes of the job within five minutes, with a coordinator ({ADDRESS}) that all of them can reach and a "
    "port that is free on the machine of process 0"
)
PATIENCE_SECONDS = 30
"""That a process waits for the others at the start before it gives that advice."""


def connect(heartbeat_seconds: int) -> None:
    """Joins the job that this process belongs to, if any; must come before everything that touches a device.

    CSLM_PROCESSES=1 means alone, whatever cluster the process runs in.

    Args:
        heartbeat_seconds: without a sign of life from a process, after which JAX ends the others.

    Raises:
        CslmError: variables that contradict each other or are only half there, or a job that does not come together.
    """
    if jax.distributed.is_initialized():
        return
    declared = _declared()
    several = declared["num_processes"] > 1 if declared else _in_cluster()
    if not several:
        return
    # Only the CPU backend reads it; elsewhere the devices have collectives of their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # When the five minutes are over JAX ends the process without asking Python.
    soon = threading.Timer(PATIENCE_SECONDS, logger.warning, [f"still waiting for other processes. {ADVICE}"])
    soon.daemon = True
    soon.start()
    try:
        jax.distributed.initialize(**declared, heartbeat_timeout_seconds=heartbeat_seconds)
    except (RuntimeError, ValueError) as error:
        raise CslmError(f"this process could not join the others: {error}. {ADVICE}") from error
    finally:
        soon.cancel()
    _introduce()
    # The first collective waits half a minute for the others and fails then (gloo); later ones, behind which a process may
    # have much to do, wait.
    all_agree(True)
    logger.info("process %d of %d, %d devices", jax.process_index(), jax.process_count(), jax.device_count())


def rows_of_process(mesh: Mesh, rows: int) -> list[int]:
    """Which of the rows of a global batch this process's devices need, ascending.

    Mostly they are the process's equal part of them. They are not where a weight is split over the devices of several
    processes, which then read the same rows, or where the mesh orders the devices by the wires between them (the torus
    of a TPU slice), which leaves holes.
    """
    indices = batch_sharding(mesh).addressable_devices_indices_map((rows,)).values()
    return sorted({row for index in indices for row in range(*index[0].indices(rows))})


def by_first_process(what: str, action: Callable[[], None]) -> None:
    """Process 0 acts while the others wait for it.

    Args:
        what: the action as a noun, for the message on the others.

    Raises:
        Exception: on process 0, the one of `action`.
        CslmError: on the others, if `action` failed.
    """
    failure = None
    if jax.process_index() == 0:
        try:
            action()
        except Exception as error:
            failure = error
    succeeded = all_agree(failure is None)
    if failure is not None:
        raise failure
    if not succeeded:
        raise CslmError(f"{what} failed on process 0; its own message says why")


def all_agree(yes: bool) -> bool:
    """Whether every process of the job says yes; all of them must ask."""
    return yes if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(yes)).all())


def _introduce() -> None:
    """From here on every line of the log says whose it is; news come from process 0 alone, warnings from all."""
    process = jax.process_index()
    if process and "CSLM_LOG" not in os.environ:
        logging.getLogger("cslm_jax").setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(f"%(levelname).1s [{process}] %(name)s: %(message)s"))


def _declared() -> dict:
    """Arguments of jax.distributed.initialize from the variables; empty without them."""
    if not (PROCESSES in os.environ or PROCESS in os.environ):
        return {}
    processes = _number(PROCESSES)
    if processes == 1 and PROCESS not in os.environ:
        return {"num_processes": 1}
    process, address = _number(PROCESS), os.environ.get(ADDRESS, "")
    if not 0 <= process < processes:
        raise CslmError(f"{PROCESS}={process} must be one of 0 .. {processes - 1} ({PROCESSES}={processes})")
    if processes > 1 and not address.rpartition(":")[2].isdigit():
        raise CslmError(f"{ADDRESS}={address!r} must be HOST:PORT of process 0, for example 127.0.0.1:12345")
    # The variables say it all: a cluster around the processes is not asked.
    return {
        "coordinator_address": address,
        "num_processes": processes,
        "process_id": process,
        "cluster_detection_method": "deactivate",
    }


def _number(name: str) -> int:
    value = os.environ.get(name)
    if value is None or not value.isdigit():
        raise CslmError(
            f"{name} is {'not set' if value is None else repr(value)}, but a job of several processes needs {ADDRESS} "
            f"(HOST:PORT of process 0), {PROCESSES} (how many) and {PROCESS} (which one, from 0) on each of them"
        )
    return int(value)


def _in_cluster() -> bool:
    """Whether JAX's detection finds a cluster with more than one process.

    A SLURM step of one task, for one, is no cluster: JAX would give it one of its GPUs only. JAX has no public way to
    ask without joining.
    """
    from jax._src.clusters import ClusterEnv

    kinds = (kind for kind in ClusterEnv._cluster_types if not kind.opt_in_only_method)
    try:
        found = next((kind for kind in kinds if kind.is_env_present()), None)
        several = found is not None and found.get_process_count() > 1
    except Exception as error:  # metadata servers and cluster interfaces fail in their own ways
        raise CslmError(
            f"the cluster around this process could not be asked about its processes ({type(error).__name__}: {error}); "
            f"set {ADDRESS}, {PROCESSES} and {PROCESS}, or {PROCESSES}=1 to run alone"
        ) from error
    if not several and ADDRESS in os.environ:
        raise CslmError(
            f"{ADDRESS} is set, but neither {PROCESSES} and {PROCESS} nor a known cluster; set them, or unset {ADDRESS}"
        )
    return several
