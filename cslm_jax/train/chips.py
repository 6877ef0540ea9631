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
