"""What the makers publish of each accelerator; `cslm plan` compares a compiled step with it."""

from __future__ import annotations

import dataclasses

from cslm_jax.errors import CslmError


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip: memory as the TPU compiler counts it, the rest as published."""

    hbm_gib: float
    """Memory that a program can use."""
    bf16_tflops: float
    """Peak of bfloat16 matrix products, 1e12 operations a second."""
    ici_gb_s: float
    """Bandwidth to the neighbours, all links and one direction together, 1e9 bytes a second."""


CHIPS = {
    "v5e": Chip(15.75, 197, 100),
    "v5p": Chip(95.73, 459, 300),
    "v6e": Chip(31.24, 918, 224),
}
"""By the name that begins a topology, as in v5e:8x8."""


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as v5p:4x4x4.

    Raises:
        CslmError: it names none of CHIPS.
    """
    name = topology.partition(":")[0]
    if name not in CHIPS:
        raise CslmError(f"topology {topology!r}: the chips are {', '.join(CHIPS)}; write, for example, v5e:8x8")
    return CHIPS[name]


PEAKS = {
    "TPU v5 lite": 197, "TPU v5e": 197, "TPU v5": 459, "TPU v5p": 459, "TPU v6 lite": 918, "TPU v6e": 918,
    "NVIDIA A100": 312, "NVIDIA L4": 121, "NVIDIA L40S": 362, "NVIDIA GeForce RTX 4090": 165,
    "NVIDIA H100": 989, "NVIDIA H100 PCIe": 756, "NVIDIA H100 NVL": 835, "NVIDIA H200": 989, "NVIDIA B200": 2250,
}  # fmt: skip
"""Published peaks of dense bfloat16 matrix products summed in float32, in 1e12 operations a second, by the words that the
name of a device begins with (`jax.Device.device_kind`). Of GPUs NVIDIA often prints twice as much, which is for sparse ones."""


def peak_tflops(device_kind: str) -> float | None:
    """The entry of PEAKS with the most words of this name; None for a device that is not in it, such as a CPU."""
    words = device_kind.split()
    fitting = [name for name in PEAKS if words[: len(name.split())] == name.split()]
    # "NVIDIA A100-SXM4-80GB" has its variant behind a dash.
    fitting = fitting or [name for name in PEAKS if device_kind.startswith(f"{name}-")]
    return PEAKS[max(fitting, key=len)] if fitting else None
