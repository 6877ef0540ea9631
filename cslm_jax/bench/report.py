"""What a benchmark says: a table for people, a JSON file for scripts."""

from __future__ import annotations

import dataclasses
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from cslm_jax.bench.timing import Spread
from cslm_jax.config import Experiment
from cslm_jax.data import files
from cslm_jax.model.flops import training_flops
from cslm_jax.model.llama import LlamaConfig
from cslm_jax.train.chips import peak_tflops

Result = Mapping[str, Any]
"""Figures of one thing that was measured, by name; a `Spread`, a number, a word, or None where there is no such figure. A
mapping of more of them is for scripts only."""


def publish(bench: str, config: Experiment, machine: Result, results: Sequence[Result], path: str | None) -> None:
    """Prints the results side by side and, if there is a path, writes them with what they were measured on.

    Args:
        machine: see `describe_devices`.
    """
    print(table(results))
    if path is not None:
        sizes = {"row_length": config.data.row_length, "global_batch": config.data.global_batch}
        told = {"name": config.name, "model": dataclasses.asdict(config.model), **sizes}
        plain = [{name: _plain(figure) for name, figure in result.items()} for result in results]
        files.write_json(Path(path), {"bench": bench, "machine": dict(machine), "config": told, "results": plain})


def describe_devices() -> dict[str, Any]:
    """What the figures belong to."""
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "cpus": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
    }


def peak_memory_bytes() -> int:
    """Most memory in use so far: of the first device where it tells, otherwise of this process (a CPU)."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def model_flops_utilisation(model: LlamaConfig, row_length: int, tokens_per_second_per_device: float) -> dict[str, float | None]:
    """MFU of training in both conventions (see `training_flops`); None where the peak of the device is not known."""
    peak = peak_tflops(jax.devices()[0].device_kind)
    return {
        f"mfu_{name}": peak and training_flops(model, row_length, causal) * tokens_per_second_per_device / (peak * 1e12)
        for name, causal in (("causal", True), ("full", False))
    }


def table(results: Sequence[Result]) -> str:
    """A line a figure, a column a result."""
    names = dict.fromkeys(name for result in results for name, figure in result.items() if not isinstance(figure, Mapping))
    rows = [[name, *(_cell(result.get(name)) for result in results)] for name in names]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _cell(figure: Any) -> str:
    match figure:
        case None:
            return "-"
        case Spread(median, low, high):
            return f"{median:.4g} ({low:.4g} .. {high:.4g})"
        case int():
            return f"{figure:,}"
        case float():
            return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.4g}"
    return str(figure)


def _plain(figure: Any) -> Any:
    return dataclasses.asdict(figure) if isinstance(figure, Spread) else figure
