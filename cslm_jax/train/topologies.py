"""Devices of machines that are not here: XLA compiles for them, and says what memory a program needs.

v5e:8x8, v5p:4x4x4     a slice of a TPU; needs libtpu, no TPU
h100:8, h100:4x8       GPUs of one host, or hosts x GPUs of each; needs JAX's CUDA plugin, no GPU
cpu:1, cpu:8           this machine's processor, as one device or as several
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from cslm_jax.errors import CslmError
from cslm_jax.train.chips import GPUS

_TARGET = """
    gpu_device_info {{
      threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: {threads}
      registers_per_core_limit: 65536  registers_per_block_limit: 65536
      shared_memory_per_block: 49152  shared_memory_per_block_optin: {shared}
      block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
      core_count: {cores}  device_memory_size: {memory}
      cuda_compute_capability {{ major: {capability[0]} minor: {capability[1]} }}
    }}
    platform_name: "CUDA"
    device_description_str: "{kind}"
"""
_AMPERE = {"threads": 2048, "shared": 166_912, "cores": 108, "capability": (8, 0)}
_HOPPER = {"threads": 2048, "shared": 232_448, "cores": 132, "capability": (9, 0)}
_ADA = {"threads": 1536, "shared": 101_376, "capability": (8, 9)}
_TARGETS = {
    "a100-40g": _AMPERE | {"memory": 40 * 2**30},
    "a100": _AMPERE | {"memory": 80 * 2**30},
    "h100": _HOPPER | {"memory": 80 * 10**9},
    "h200": _HOPPER | {"memory": 141 * 10**9},
    "l4": _ADA | {"cores": 58, "memory": 24 * 10**9},
    "rtx4090": _ADA | {"cores": 128, "memory": 24 * 2**30},
}


def devices_of(topology: str) -> Sequence[jax.Device]:
    """Devices to compile for.

    Raises:
        CslmError: there is no such topology, or the package that compiles for it is missing.
    """
    name, _, shape = topology.partition(":")
    try:
        if name == "cpu":
            return _processors(int(shape or 1))
        if name in GPUS:
            return _gpus(name, shape or "1")
        return _tpus(topology)
    except Exception as error:  # what these raise depends on the version of the plugin
        plugin = "JAX's CUDA plugin (pip install 'cslm_jax[cuda]')" if name in GPUS else "libtpu (pip install 'cslm_jax[tpu]')"
        needed = "" if name == "cpu" else f"{plugin}, and "
        raise CslmError(
            f"topology {topology!r} cannot be compiled for ({str(error).splitlines()[0]}); it needs {needed}a shape that "
            "exists, such as v5e:8x8, v5p:4x4x4, h100:8 or cpu:1"
        ) from error


def start_for(names: Sequence[str]) -> None:
    """Starts JAX without this machine's accelerators, which nothing here uses, and with as many CPU devices as cpu:N asks for."""
    jax.config.update("jax_platforms", "cpu")
    processors = [
        int(shape) for name, _, shape in (topology.partition(":") for topology in names) if name == "cpu" and shape.isdigit()
    ]
    with contextlib.suppress(RuntimeError):  # JAX has started already
        jax.config.update("jax_num_cpu_devices", max([1, *processors]))


def gpu_target(name: str) -> str:
    """XLA's description of a GPU."""
    return _TARGET.format(kind=GPUS[name].kind, **_TARGETS[name])


def _tpus(topology: str) -> Sequence[jax.Device]:
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no TPU to ask
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # nor to share: several plans may run at a time
    return topologies.get_topology_desc(topology, platform="tpu").devices


def _gpus(name: str, shape: str) -> Sequence[jax.Device]:
    hosts, _, gpus = shape.rpartition("x")
    text = f"1x{hosts or 1}x{gpus}"  # slices, hosts of a slice, GPUs of a host
    return topologies.get_topology_desc(platform="cuda", target_config=gpu_target(name), topology=text).devices


def _processors(count: int) -> Sequence[jax.Device]:
    if count > len(jax.devices("cpu")):
        raise ValueError(f"JAX was started with {len(jax.devices('cpu'))} CPU devices")
    return jax.devices("cpu")[:count]
