"""The scripts of launch/ run against stand-ins for the commands they call, which write down every call."""

import os
import subprocess
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"

# The arguments of a call, and what tests/launch tells this command to do.
STUB = """#!/usr/bin/env bash
printf '%s\\0' {name} "$@" >>{calls}
printf '\\n\\0' >>{calls}
{body}
"""


class Stubs:
    """A folder that comes first on the PATH."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._calls = folder / "calls"
        self._calls.touch()

    def add(self, name: str, body: str = "") -> None:
        path = self.folder / name
        path.write_text(STUB.format(name=name, calls=self._calls, body=body))
        path.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        """Arguments of each call of a command, in order."""
        calls = [call.split("\0")[:-1] for call in self._calls.read_text().split("\n\0")]
        return [arguments for command, *arguments in filter(None, calls) if command == name]


@pytest.fixture
def stubs(tmp_path) -> Stubs:
    folder = tmp_path / "stubs"
    folder.mkdir()
    return Stubs(folder)


@pytest.fixture
def launch(stubs, tmp_path):
    def run(script: str, *arguments: str, timeout: float = 60, **variables: str) -> subprocess.CompletedProcess:
        """Runs launch/SCRIPT with nothing in the environment but the PATH, HOME and the variables."""
        environment = {"PATH": f"{stubs.folder}:{os.environ['PATH']}", "HOME": str(tmp_path)} | variables
        command = ["bash", str(LAUNCH / script), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)

    return run
