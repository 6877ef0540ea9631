"""A job that loses a process, and one in which a process hangs, end by themselves and say so; the run goes on from its
last checkpoint and ends with the losses of one that met nothing of this."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cslm_jax import config as experiments
from cslm_jax.train.loop import train

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 12, 3

# `cslm` with a fault in one process: FAULT is what happens to which process before which step.
FAULTY = """
import os, signal, sys, time
from cslm_jax import cli
from cslm_jax.train import failure, watchdog

what, who, where = os.environ["FAULT"].split()
reached = watchdog.Watchdog.reached

def wait_for_ever():
    time.sleep(3600)

def reached_and_failed(self, place, brief=False):
    reached(self, place, brief)
    if place != f"step {where}":
        return
    if what == "hang":
        self._stall = 3  # seconds, in all processes, and not before everything is compiled
    if os.environ["CSLM_PROCESS"] == who:
        os.kill(os.getpid(), signal.SIGKILL) if what == "kill" else wait_for_ever()

watchdog.Watchdog.reached = reached_and_failed
watchdog.LAST_WORDS_SECONDS = failure.FAREWELL_SECONDS = 1
sys.exit(cli.main())
"""


@pytest.fixture
def run(tmp_path, make_experiment):
    """Starts the run with launch/local.sh, as a user would."""
    experiments.save(make_experiment(tmp_path / "run", steps=STEPS, checkpoint_every=EVERY, heartbeat_seconds=30), tmp_path)
    (tmp_path / "cslm.py").write_text(FAULTY)

    def start(processes: int, fault: str) -> subprocess.CompletedProcess:
        flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
        environment = {"CSLM": f"{sys.executable} {tmp_path / 'cslm.py'}", "FAULT": fault, "GRACE": "60"}
        environment |= {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        command = ["bash", str(ROOT / "launch" / "local.sh"), str(processes), f"--config={tmp_path / 'config.json'}"]
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300)

    return start


def test_a_run_survives_a_killed_and_a_hung_process(run, make_experiment, tmp_path, read_metrics):
    killed = run(4, fault="kill 2 5")
    assert killed.returncode == 137, killed.stderr[-3000:]
    assert "launch/local.sh: process 2 of 4 ended with status 137" in killed.stderr
    assert "another process is lost" in killed.stderr or "another task died" in killed.stderr
    assert "SIGKILL" not in killed.stderr, "the others had to be ended"

    hung = run(2, fault="hang 1 8")
    assert hung.returncode == 134, hung.stderr[-3000:]
    for process, function in ((0, "device_get"), (1, "wait_for_ever")):
        assert f"process {process} of 2 has been at step" in hung.stderr and f" in {function}" in hung.stderr
    assert [line["step"] for line in read_metrics(tmp_path / "run")][-1] >= 2 * EVERY, "the second job went on with the first"

    news = [line for line in hung.stderr.splitlines() if line.startswith("[1]") and ("step/s" in line or " I [" in line)]
    assert news == [], "process 0 alone tells the news"

    train(make_experiment(tmp_path / "run", steps=STEPS))
    train(make_experiment(tmp_path / "whole", steps=STEPS))
    losses = [[line["loss"] for line in read_metrics(tmp_path / name)] for name in ("run", "whole")]
    np.testing.assert_allclose(*losses, rtol=1e-4)
