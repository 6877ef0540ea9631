"""`cslm bench against-torch-...`: the same model, data and machine in this project and in PyTorch as the paper's authors use it.

Their way is `transformers`: its Trainer over examples padded to the longest of their batch, its `generate` with a KV cache.

Torch's threads spin while they wait for each other, which other programs on the machine slow down out of all proportion:
where there are any, set OMP_WAIT_POLICY=PASSIVE, or give both sides one core (`taskset -c 0 cslm bench ...`), and look at
the ratio of tokens a processor second too.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json as json_module
import os
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cslm_jax import config as experiment
from cslm_jax.bench import report
from cslm_jax.bench.data import open_loader, with_rows, without_data
from cslm_jax.bench.timing import Spread
from cslm_jax.bench.turns import Side
from cslm_jax.config import Experiment
from cslm_jax.errors import CslmError


def training(config: Experiment, steps: int = 10, repetitions: int = 10, json: str | None = None) -> None:
    """Trains the config's model on its data with AdamW in turns: packed rows here, padded batches in transformers.Trainer.

    Both begin with the same weights and see the same examples, as many useful tokens (that is, no padding) a step on average.

    Args:
        steps: optimizer steps of a turn.
        repetitions: turns of each side, after one that does not count.
        json: file for the same figures.
    """
    _check_installed("torch", "transformers", "accelerate")
    request = {"steps": steps, "turns": 1 + repetitions}
    config = dataclasses.replace(
        with_rows(config),
        optimizer=dataclasses.replace(config.optimizer, algorithm="adamw", end=0.0),
        train=dataclasses.replace(config.train, steps=steps * (1 + repetitions)),
    )
    open_loader(config)  # a mistake in the data is told here
    _compare("against-torch-training", "training", config, request, repetitions, json)


def generation(
    config: Experiment, batch: int = 8, prompt: int = 64, new_tokens: int = 128, repetitions: int = 10, json: str | None = None
) -> None:
    """Answers the same prompts with the same random weights in turns, greedily and with a KV cache; needs no data.

    Args:
        batch: prompts that are answered together.
        prompt: tokens of each.
        new_tokens: tokens of each answer.
        repetitions: turns of each side, after one that does not count.
        json: file for the same figures.
    """
    _check_installed("torch", "transformers")
    config = with_rows(without_data(config))
    request = {"batch": batch, "prompt": prompt, "new_tokens": new_tokens}
    _compare("against-torch-generation", "generation", config, request, repetitions, json)


def _compare(bench: str, what: str, config: Experiment, request: dict, repetitions: int, path: str | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        experiment.save(config, folder)
        (folder / "request.json").write_text(json_module.dumps(request | {"threads": len(os.sched_getaffinity(0))}))
        # Ours comes first: it writes the weights and the examples that the other one reads.
        with (
            Side(f"cslm_jax.bench.jax_{what}", folder) as ours,
            Side(f"cslm_jax.bench.torch_{what}", folder) as theirs,
        ):
            turns = _in_turns(ours, theirs, repetitions)
            report.publish(bench, config, {"ours": ours.ready, "theirs": theirs.ready}, _results(*turns), path)


def _check_installed(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise CslmError(f"the comparison needs {', '.join(missing)}: pip install 'cslm_jax[parity]'")


def _in_turns(ours: Side, theirs: Side, repetitions: int) -> tuple[list[dict], list[dict]]:
    """The figures of both, turn by turn; who begins alternates, and the first turns, which warm up, are left out."""
    figures: dict[Side, list[dict]] = {ours: [], theirs: []}
    for turn in tqdm(range(1 + repetitions), desc="turns", unit="turn"):
        for side in (ours, theirs) if turn % 2 else (theirs, ours):
            figures[side].append(side.turn())
    return figures[ours][1:], figures[theirs][1:]


def _results(ours: list[dict], theirs: list[dict]) -> list[dict[str, Any]]:
    """Tokens a second, and the ratios of turns that were taken one after the other; other figures are those of the last turn."""
    results = [{"side": "cslm_jax"}, {"side": "transformers"}]
    for name, clock in (("tokens_per_second", "seconds"), ("tokens_per_cpu_second", "cpu_seconds")):
        rates = [[turn["tokens"] / turn[clock] for turn in turns] for turns in (ours, theirs)]
        ratios = Spread.of([mine / other for mine, other in zip(*rates, strict=True)])
        for result, rate, ratio in zip(results, rates, (ratios, None), strict=True):
            result |= {name: Spread.of(rate), f"ratio_of_{name}": ratio}
    others = [{name: figure for name, figure in turns[-1].items() if "seconds" not in name} for turns in (ours, theirs)]
    return [result | other for result, other in zip(results, others, strict=True)]
