"""Our side of `cslm bench against-torch-training`: the step of `cslm train` over its packed rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import numpy as np

from cslm_jax import config as experiment
from cslm_jax.bench import report
from cslm_jax.bench.exported import write_model
from cslm_jax.bench.training import Training
from cslm_jax.bench.turns import Stopwatch, Turns
from cslm_jax.data.loader import Loader
from cslm_jax.host_memory import keep_freed_memory


def main(folder: Path) -> None:
    keep_freed_memory()
    turns, request = Turns(), json.loads((folder / "request.json").read_text())
    training = Training(experiment.load_run(folder))
    write_model(training.state.params, training.config.model, folder)
    write_examples(training.loader, request["steps"] * request["turns"], folder)
    turns.tell(report.describe_devices() | {"density": training.loader.density})
    with jax.set_mesh(training.mesh):
        while turns.wait():
            turns.tell(turn(training, request["steps"]))


def turn(training: Training, steps: int) -> dict:
    """So many steps as the loop of `cslm train` takes them: figures are read when all is under way."""
    watch = Stopwatch()
    figures = [training.step(training.next_batch()) for _ in range(steps)]
    figures = jax.device_get(figures)
    return watch.read() | {
        "tokens": int(sum(each.tokens for each in figures)),
        "loss": float(np.mean([each.loss for each in figures])),
        "peak_memory_bytes": report.peak_memory_bytes(),
    }


def write_examples(loader: Loader, steps: int, folder: Path) -> None:
    """Writes FOLDER/examples.npz: the examples of these steps, one behind the other, and how many there are in a step."""
    batches = [loader.global_batch(step) for step in range(steps)]
    kept = [batch["segment_ids"].reshape(-1) != 0 for batch in batches]
    joined = {
        name: np.concatenate([batch[name].reshape(-1)[keep] for batch, keep in zip(batches, kept)])
        for name in ("tokens", "loss_weights", "positions")
    }
    starts = np.flatnonzero(joined.pop("positions") == 0)
    np.savez(folder / "examples.npz", starts=starts, a_step=round(len(starts) / steps), **joined)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
