"""`cslm quickstart`: the whole method on the miniature, stage by stage, each in its own process.

Every stage is a command that a user could type (it is printed before it runs). A stage that has finished is
not repeated; one that was interrupted resumes by itself, because its command does.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from cslm_jax.data import files
from cslm_jax.errors import CslmError
from cslm_jax.miniature.defaults import PARTS, PREPARED

RUNS = ("text", "cpt", "sft")
"""Training runs, each beginning from the one before."""


class Stage(NamedTuple):
    command: str
    run: str
    """Whose config it takes."""
    products: tuple[str, ...]
    """What it leaves in the workdir; without them it is not done, whatever the journal says."""


STAGES = {
    "vocabulary": Stage("vocabulary", "text", ("vocabulary/vocabulary.json",)),
    "tokenizer": Stage("tokenizer", "text", ("tokenizer/tokenizer.json",)),
    "decoder": Stage("decoder", "text", ("decoder/decoder.json",)),
    "prepare": Stage("prepare", "text", ("records", "cache")),
    "text": Stage("train", "text", ("text/checkpoints",)),
    "cpt": Stage("train", "cpt", ("cpt/checkpoints",)),
    "sft": Stage("train", "sft", ("sft/checkpoints",)),
    "evaluate": Stage("evaluate", "sft", ("report/measures",)),
}
"""In their order."""


def quickstart(workdir: str = "runs/quickstart", configs: str = "configs", started: float | None = None) -> None:
    """Trains the miniature from scratch and evaluates it; writes WORKDIR/report/report.html and report.json.

    Args:
        workdir: where everything is written; running again resumes.
        configs: the directory of miniature_text.py, miniature_cpt.py and miniature_sft.py.
        started: Unix time at which the user began, so that the installation counts too.
    """
    journal = Path(workdir) / "stages.json"
    journal.parent.mkdir(parents=True, exist_ok=True)
    stages = files.read_json(journal, "delete this file and run the same command again") if journal.exists() else {}
    if started is not None and "install" not in stages:
        stages["install"] = {"seconds": time.time() - started, "peak_memory_gib": 0.0, "finished": True}
    for number, (name, stage) in enumerate(STAGES.items(), 1):
        there = all(Path(workdir, product).exists() for product in stage.products)
        if there and stages.get(name, {}).get("finished"):
            print(f"[{number}/{len(STAGES)}] {name}: done before", flush=True)
            continue
        words = [stage.command, *_flags(stage.run, workdir, configs)]
        print(f"[{number}/{len(STAGES)}] cslm {' '.join(words)}", flush=True)
        with _measured(stages, name, journal):
            _run(words, name)
    # Once more, for the time and memory of the evaluation itself belong into the report.
    _run(["report", *_flags("sft", workdir, configs)], "report")
    print(f"Open {workdir}/report/report.html. Try: cslm respond --workdir={workdir} --audio=question.wav --output=answer.wav")


def _flags(run: str, workdir: str, configs: str) -> list[str]:
    """The config of a run, moved to `workdir` if that is not where the config looks."""
    flags = [f"--config={configs}/miniature_{run}.py"]
    if Path(workdir) == Path(PREPARED):
        return flags
    flags += [f"--config.data.{part}={workdir}/{part}" for part in PARTS]
    flags += [f"--config.workdir={workdir}/{run}", f"--config.evaluate.report={workdir}/report"]
    if run != RUNS[0]:
        flags.append(f"--config.train.init_from={workdir}/{RUNS[RUNS.index(run) - 1]}")
    return flags


def _run(words: list[str], stage: str) -> None:
    code = subprocess.run([sys.executable, "-m", "cslm_jax.cli", *words], check=False).returncode
    if code:
        raise CslmError(f"stage {stage} {_ending(code)}; run the same command to resume")


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code} (its message stands above)"
    memory = " (the system does that when memory runs out)" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.strsignal(-code) or 'a signal'}, signal {-code}{memory}"


@contextmanager
def _measured(stages: dict, name: str, journal: Path) -> Iterator[None]:
    """Adds the stage's wall seconds and the largest memory of its process tree to the journal."""
    begin, watch = time.monotonic(), _MemoryWatch()
    before = stages.get(name, {"seconds": 0.0, "peak_memory_gib": 0.0})
    finished = False
    try:
        with watch:
            yield
        finished = True
    finally:
        stages[name] = {
            "seconds": before["seconds"] + time.monotonic() - begin,
            "peak_memory_gib": max(before["peak_memory_gib"], watch.peak_bytes / 2**30),
            "finished": finished,
        }
        files.write_json(journal, stages)


class _MemoryWatch:
    """Samples the resident memory of this process and everything below it, twice a second."""

    def __init__(self):
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        me = psutil.Process()
        while not self._done.wait(0.5):
            self.peak_bytes = max(self.peak_bytes, sum(map(_resident, [me, *me.children(recursive=True)])))


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it ended between the listing and the look
        return 0
