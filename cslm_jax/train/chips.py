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
    """Begins the name that JAX gives a device of this kind."""


GPU_SHARE = 0.92
"""Share of a GPU's memory that JAX takes with XLA_CLIENT_MEM_FRACTION=0.92; its own default is 0.75."""

TPUS = {
    "v5e": Chip(15.75, 197, 100, kind="TPU v5 lite"),
    "v5p": Chip(95.73, 459, 300, kind="TPU v5"),
    "v6e": Chip(31.24, 918, 224, kind="TPU v6 lite"),
}
GPUS = {
    "a100-40g": Chip(40.0 * GPU_SHARE, 312, 300, 25, "NVIDIA A100-SXM4-40GB"),
    "a100": Chip(80.0 * GPU_SHARE, 312, 300, 25, "NVIDIA A100-SXM4-80GB"),
    "h100": Chip(79.6 * GPU_SHARE, 989, 450, 50, "NVIDIA H100"),
    "h200": Chip(140.4 * GPU_SHARE, 989, 450, 50, "NVIDIA H200"),
    "l4": Chip(22.5 * GPU_SHARE, 121, 32, 3, "NVIDIA L4"),
    "rtx4090": Chip(24.0 * GPU_SHARE, 165, 32, 3, "NVIDIA GeForce RTX 4090"),
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


def known(device_kind: str) -> Chip | None:
    """The chip of a device of this machine, by the kind that JAX reports; None if it is not listed."""
    fitting = [chip for chip in CHIPS.values() if device_kind.startswith(chip.kind)]
    return max(fitting, key=lambda chip: len(chip.kind), default=None)
