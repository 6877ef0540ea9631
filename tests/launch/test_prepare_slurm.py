"""launch/prepare_slurm.sh submits three arrays, one after the other, and a worker that a machine ended goes back to the queue."""

import signal
import subprocess

import pytest

ARGUMENTS = ("--config=x", "--config.name=two words")
TASK = {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3", "CSLM_STAGE": "records", "CSLM_WORKERS": "32"}


@pytest.fixture
def slurm(stubs, launch):
    def run(cslm: str = "", **variables: str) -> subprocess.CompletedProcess:
        """Runs the script; `cslm` is what the stand-in for cslm does."""
        stubs.add("cslm", cslm)
        stubs.add("scontrol")
        # As a federation answers, with its own name behind the number.
        stubs.add("sbatch", 'echo "$(wc -l <{})0;cluster"; echo "$CSLM_STAGE $CSLM_WORKERS" >&2'.format(stubs.folder / "calls"))
        return launch("prepare_slurm.sh", *ARGUMENTS, **variables)

    return run


def test_three_arrays_each_waits_for_the_one_before(slurm, stubs):
    result = slurm(WORKERS="32", CACHE_WORKERS="6", SBATCH="--gpus=1 --time=9", SBATCH_CPU="--partition=cpu")
    assert result.returncode == 0, result.stderr
    records, caches, summary = stubs.calls("sbatch")
    assert result.stderr.split() == ["records", "32", "caches", "6", "summary", "1"]
    assert {"--array=0-31", "--gpus=1", "--time=9"} <= set(records) and not any("--dependency" in word for word in records)
    assert {"--array=0-5", "--partition=cpu"} <= set(caches) and {"--array=0-0", "--partition=cpu"} <= set(summary)
    numbers = [word.rstrip(",") for word in result.stdout.split() if word.rstrip(",").isdecimal()]
    for call, before in ((caches, numbers[0]), (summary, numbers[1])):
        assert f"--dependency=afterok:{before}" in call and "--gpus=1" not in call
    assert all(call[-2:] == list(ARGUMENTS) and "--requeue" in call for call in (records, caches, summary))


@pytest.mark.parametrize(
    ("stage", "words"),
    [("records", ["--worker=3/32"]), ("caches", ["--caches", "--worker=3/32"]), ("summary", ["--summary"])],
)
def test_a_task_of_an_array_does_its_share(slurm, stubs, stage, words):
    assert slurm(**TASK | {"CSLM_STAGE": stage}).returncode == 0
    assert stubs.calls("cslm") == [["prepare", *ARGUMENTS, *words]] and stubs.calls("scontrol") == []


def test_what_a_machine_did_goes_back_to_the_queue(slurm, stubs):
    result = slurm("exit 137", **TASK)
    assert result.returncode == 137 and "back to the queue (restart 1 of at most 100)" in result.stderr
    assert stubs.calls("scontrol") == [["requeue", "70_3"]]


def test_a_signal_before_the_time_limit_ends_the_worker(slurm, stubs):
    result = slurm(f"trap 'exit 143' TERM; kill -{signal.SIGTERM:d} $PPID; for i in {{1..100}}; do sleep 0.1; done", **TASK)
    assert result.returncode == 143 and stubs.calls("scontrol") == [["requeue", "70_3"]]


@pytest.mark.parametrize(("status", "restarts"), [("2", "0"), ("137", "100")])
def test_a_mistake_does_not_nor_what_was_ended_too_often(slurm, stubs, status, restarts):
    assert slurm(f"exit {status}", SLURM_RESTART_COUNT=restarts, **TASK).returncode == int(status)
    assert stubs.calls("scontrol") == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORKERS": "0"}, "WORKERS is 0"),
        ({"CACHE_WORKERS": "many"}, "CACHE_WORKERS is many"),
        ({"CSLM": "no-such-command"}, "no command no-such-command"),
        ({"CSLM_STAGE": "records"}, "no job of an array"),
        (TASK | {"CSLM_STAGE": "all"}, "one of records, caches, summary"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(slurm, stubs, variables, message):
    result = slurm(**variables)
    assert result.returncode == 2 and message in result.stderr
    assert stubs.calls("sbatch") == stubs.calls("cslm") == []
