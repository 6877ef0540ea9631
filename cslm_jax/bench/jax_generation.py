"""Our side of `cslm bench against-torch-generation`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from cslm_jax import config as experiment
from cslm_jax.bench import report
from cslm_jax.bench.exported import write_model
from cslm_jax.bench.generate import make_generator, random_prompts
from cslm_jax.bench.turns import Stopwatch, Turns
from cslm_jax.generate.sampling import SamplingConfig
from cslm_jax.host_memory import keep_freed_memory


def main(folder: Path) -> None:
    keep_freed_memory()
    turns, request = Turns(), json.loads((folder / "request.json").read_text())
    config = experiment.load_run(folder)
    generator, prompts = make_generator(config), random_prompts(config, request["batch"], request["prompt"])
    write_model(generator.params, config.model, folder)
    np.save(folder / "prompts.npy", np.stack(prompts))
    sampling = SamplingConfig(greedy=True, max_new_tokens=request["new_tokens"])
    turns.tell(report.describe_devices())
    while turns.wait():
        watch = Stopwatch()
        answers = generator.generate(prompts, sampling, at_once=len(prompts))
        figures = watch.read()
        np.save(folder / "answers.npy", np.stack(answers))
        turns.tell(figures | {"tokens": sum(map(len, answers))})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
