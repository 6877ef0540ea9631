"""launch/local.sh starts the processes of one job, tells them about each other, and ends when they have all ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"
FAKE = """
echo "$CSLM_PROCESS of $CSLM_PROCESSES at $JAX_COORDINATOR_ADDRESS: $*"
echo "warning of $CSLM_PROCESS" >&2
trap 'echo saved; exit 143' TERM
[[ $CSLM_PROCESS != "${BAD:-}" ]] || exit 7
for _ in $(seq "${TENTHS:-0}"); do sleep 0.1; done
"""


@pytest.fixture
def cslm(stubs):
    stubs.add("cslm", FAKE)


def test_each_process_knows_its_place(cslm, launch):
    result = launch("local.sh", "3", "--config=x", "--config.name=two words")
    assert result.returncode == 0, result.stderr
    lines = sorted(result.stdout.splitlines())
    address = lines[0].split()[4]
    assert address.startswith("127.0.0.1:") and address.rstrip(":").rpartition(":")[2].isdigit()
    said = [f"{number} of 3 at {address} train --config=x --config.name=two words" for number in range(3)]
    assert lines == [said[0], f"[1] {said[1]}", f"[2] {said[2]}"]
    assert sorted(result.stderr.splitlines()) == ["[1] warning of 1", "[2] warning of 2", "warning of 0"]


def test_a_failure_ends_the_others_after_a_while(cslm, launch):
    start = time.monotonic()
    result = launch("local.sh", "3", "--config=x", BAD="1", TENTHS="300", GRACE="1")
    assert result.returncode == 7 and time.monotonic() - start < 20
    assert "process 1 of 3 ended with status 7" in result.stderr and "ending by SIGKILL: 0 2" in result.stderr


def test_others_that_end_by_themselves_are_left_alone(cslm, launch):
    result = launch("local.sh", "2", "--config=x", BAD="0", TENTHS="5", GRACE="30")
    assert result.returncode == 7 and "SIGKILL" not in result.stderr


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_all(sent, cslm, stubs):
    environment = os.environ | {"PATH": f"{stubs.folder}:{os.environ['PATH']}", "TENTHS": "300"}
    # A test run in the background ignores Ctrl-C and hands that on; what is started here must not.
    listening = f"import os, signal; signal.signal({int(sent)}, signal.SIG_DFL); "
    start = listening + f"os.execvp('bash', ['bash', {str(LAUNCH / 'local.sh')!r}, '2', '--config=x'])"
    command = [sys.executable, "-c", start]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as job:
        said = [job.stdout.readline() for _ in range(2)]
        job.send_signal(sent)
        said += job.stdout.read().splitlines()
    assert job.returncode == 143 and {"saved", "[1] saved"} <= set(said)


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        ([], {}, "the first argument is the number of processes"),
        (["--config=x"], {}, "the first argument is the number of processes"),
        (["2", "--config=x"], {"CSLM": "no-such-command"}, "no command no-such-command"),
    ],
)
def test_what_is_wrong_is_said(arguments, variables, message, cslm, launch, stubs):
    result = launch("local.sh", *arguments, **variables)
    assert result.returncode == 2 and message in result.stderr
    assert stubs.calls("cslm") == []
