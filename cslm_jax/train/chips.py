"""What the makers publish of each accelerator; plans and benchmarks compare themselves with it."""

from __future__ import annotations

import dataclasses

from cslm_jax.errors import CslmError


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip: TPU memory as the compiler counts it, GPU memory as JAX may take it (`GPU_SHARE`), the rest as published."""

    hbm_gib: float
    """Memory that a program can use."""
    bf16_tflops: float
    """Peak of dense bfloat16 matrix products, 1e12 operations a second."""
    link_gb_s: float
    """Bandwidth to the neighbours, all links and one direction together, 1e9 bytes a second."""
    network_gb_s: float | None = None
    """The same between hosts, where the links end with the host."""
    kind: str = ""
    """Name that JAX gives a device of this kind."""


PEAKS = {
    "TPU v5 lite": 197, "TPU v5e": 197, "TPU v5": 459, "TPU v5p": 459, "TPU v6 lite": 918, "TPU v6e": 918,
    "NVIDIA A100": 312, "NVIDIA L4": 121, "NVIDIA L40S": 362, "NVIDIA GeForce RTX 4090": 165,
    "NVIDIA H100": 989, "NVIDIA H100 PCIe": 756, "NVIDIA H100 NVL": 835, "NVIDIA H200": 989, "NVIDIA B200": 2250,
}  # fmt: skip
"""Published peaks of dense bfloat16 matrix products summed in float32, in 1e12 operations a second, by the words that the
name of a device begins with (`jax.Device.device_kind`). Of GPUs NVIDIA often prints twice as much, which is for sparse ones."""

GPU_SHARE = 0.92
"""Share of a GPU's memory that JAX takes with XLA_CLIENT_MEM_FRACTION=0.92; its own default is 0.75."""

TPUS = {
    "v5e": Chip(15.75, PEAKS["TPU v5 lite"], 100, kind="TPU v5 lite"),
    "v5p": Chip(95.73, PEAKS["TPU v5"], 300, kind="TPU v5"),
    "v6e": Chip(31.24, PEAKS["TPU v6 lite"], 224, kind="TPU v6 lite"),
}
GPUS = {
    "a100-40g": Chip(40.0 * GPU_SHARE, PEAKS["NVIDIA A100"], 300, 25, "NVIDIA A100-SXM4-40GB"),
    "a100": Chip(80.0 * GPU_SHARE, PEAKS["NVIDIA A100"], 300, 25, "NVIDIA A100-SXM4-80GB"),
    "h100": Chip(79.6 * GPU_SHARE, PEAKS["NVIDIA H100"], 450, 50, "NVIDIA H100"),
    "h200": Chip(140.4 * GPU_SHARE, PEAKS["NVIDIA H200"], 450, 50, "NVIDIA H200"),
    "l4": Chip(22.5 * GPU_SHARE, PEAKS["NVIDIA L4"], 32, 3, "NVIDIA L4"),
    "rtx4090": Chip(24.0 * GPU_SHARE, PEAKS["NVIDIA GeForce RTX 4090"], 32, 3, "NVIDIA GeForce RTX 4090"),
}
CHIPS = TPUS | GPUS
"""By the name that begins a topology, as in v5e:8x8 or h100:8."""


def chip_of(topology: str) -> Chip | None:
    """The chip of a topology such as v5p:4x4x4; None for cpu, of which no maker says such things.

    Raises:
        CslmError: it names none of CHIPS.
    """
    name = topology.partition(":")[0]
    if name not in CHIPS and name != "cpu":
        raise CslmError(
            f"topology {topology!r}: the chips are {', '.join(CHIPS)} and cpu; write, for example, v5e:8x8, h100:8 or h100:4x8"
        )
    return CHIPS.get(name)


def peak_tflops(device_kind: str) -> float | None:
    """The entry of PEAKS with the most words of this name; None for a device that is not in it, such as a CPU."""
    words = device_kind.split()
    fitting = [name for name in PEAKS if words[: len(name.split())] == name.split()]
    # "NVIDIA A100-SXM4-80GB" has its variant behind a dash.
    fitting = fitting or [name for name in PEAKS if device_kind.startswith(f"{name}-")]
    return PEAKS[max(fitting, key=len)] if fitting else None
