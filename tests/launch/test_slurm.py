"""launch/slurm.sh runs one process a GPU and goes back to the queue when a machine, and not a mistake, ended the job."""

import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "slurm.sh"
JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS_PER_NODE": "8", "SLURM_GPUS_ON_NODE": "8"}


@pytest.fixture
def slurm(stubs, launch):
    def run(srun: str = "", **variables: str) -> subprocess.CompletedProcess:
        """Runs the script as a job does; `srun` is what the stand-in for srun does."""
        for name in ("cslm", "scontrol"):
            stubs.add(name)
        stubs.add("srun", srun)
        return launch("slurm.sh", "--config=x", "--config.name=two words", **variables)

    return run


def test_one_process_a_gpu(slurm, stubs):
    result = slurm(**JOB)
    assert result.returncode == 0 and stubs.calls("scontrol") == [], result.stderr
    flags = ["--label", "--gpu-bind=none", "--kill-on-bad-exit=0", "--wait=300"]
    assert stubs.calls("srun") == [[*flags, "cslm", "train", "--config=x", "--config.name=two words"]]


@pytest.mark.parametrize("status", [134, 137, 143])
def test_what_a_machine_did_goes_back_to_the_queue(status, slurm, stubs):
    result = slurm(f"exit {status}", **JOB)
    assert result.returncode == status and "back to the queue (restart 1 of at most 100)" in result.stderr
    assert stubs.calls("scontrol") == [["requeue", "7"]]


def test_a_mistake_does_not(slurm, stubs):
    result = slurm("exit 2", **JOB)
    assert result.returncode == 2 and "not queued again" in result.stderr
    assert stubs.calls("scontrol") == []


def test_nor_does_a_job_that_comes_to_nothing_again_and_again(slurm, stubs):
    result = slurm("exit 134", SLURM_RESTART_COUNT="3", **JOB)
    assert result.returncode == 134 and "after 3 restarts" in result.stderr
    assert slurm("exit 134", SLURM_RESTART_COUNT="5", MAX_RESTARTS="5", BRIEF="0", **JOB).returncode == 134
    assert stubs.calls("scontrol") == []


def test_a_job_that_ran_for_a_while_may_go_back_often(slurm, stubs):
    assert slurm("exit 143", SLURM_RESTART_COUNT="50", BRIEF="0", **JOB).returncode == 143
    assert stubs.calls("scontrol") == [["requeue", "7"]]


def test_sigterm_to_the_shell_leaves_the_processes_their_time(slurm, stubs):
    """As a preemption sends it: the shell waits for srun, whose processes save and leave with 143."""
    result = slurm(f"kill -{signal.SIGTERM:d} $PPID; sleep 0.3; exit 143", **JOB)
    assert result.returncode == 143 and "asked to stop" in result.stderr
    assert stubs.calls("scontrol") == [["requeue", "7"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_JOB_ID": ""}, "submit it: sbatch"),
        ({"SLURM_NTASKS_PER_NODE": "1"}, "--ntasks-per-node is 1 and --gpus-per-node 8; make them equal"),
        ({"SLURM_GPUS_ON_NODE": ""}, "--gpus-per-node not set"),
        ({"CSLM": "no-such-command"}, "no command no-such-command"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(changes, message, slurm, stubs):
    result = slurm(**JOB | changes)
    assert result.returncode == 2 and message in result.stderr
    assert stubs.calls("srun") == []


def test_the_job_asks_for_a_signal_in_time_and_may_be_requeued():
    header = [line.removeprefix("#SBATCH ") for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH ")]
    assert {"--signal=TERM@300", "--requeue", "--open-mode=append"} <= set(header)
