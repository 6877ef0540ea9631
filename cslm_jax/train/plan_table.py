"""Plans as a table to read."""

from __future__ import annotations

from collections.abc import Sequence

from cslm_jax.train.plan_step import Plan

HEADINGS = (
    "topology",
    "mesh",
    "remat",
    "rows",
    "fits",
    "peak / HBM GiB",
    "s/step",
    "tok/s/chip",
    "MFU causal/full",
    "chip-hours",
)


def table(plans: Sequence[Plan]) -> str:
    """One line a plan; times are estimates."""
    rows = [HEADINGS, *(_row(found) for found in plans)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(found: Plan) -> tuple[str, ...]:
    mesh = " x ".join(f"{axis}={size}" for axis, size in found.mesh.items() if size > 1) or "1"
    rows = f"{found.per_device_batch:g}" + (f" x {found.accumulate}" if found.accumulate > 1 else "")
    peak = found.problem or f"{found.peak_gib_per_chip:.1f} / {found.hbm_gib_per_chip:.1f}"
    if found.host_gib_per_chip:
        peak += f", host {found.host_gib_per_chip:.1f}"
    if found.step_seconds_estimate is None:
        speed = ("", "", "", "")
    else:
        mfu = f"{found.mfu_causal:.0%} / {found.mfu_full:.0%}"
        seconds, tokens = f"{found.step_seconds_estimate:.2f}", f"{found.tokens_per_second_per_chip:.0f}"
        speed = (seconds, tokens, mfu, f"{found.chip_hours:.0f}")
    return (found.topology, mesh, found.remat, rows, "yes" if found.fits else "NO", peak, *speed)
