"""Two programs measured in turns, each in a process of its own that is kept between its turns.

Both warm up once, their thread pools do not meet, and what else the machine does hits both alike. The processes talk in
lines: an empty line in asks for a turn, a line of JSON out is its figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cslm_jax.errors import CslmError


class Side(contextlib.AbstractContextManager):
    """The caller's end: a module that runs as a process with the folder of what it needs as its argument.

    Raises:
        CslmError: the process ended; what it said stands before.
    """

    def __init__(self, module: str, folder: Path):
        self._module = module
        # On a GPU the other program needs memory too.
        environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.ready = self._read()
        """What it told about itself when it had started."""

    def turn(self) -> dict[str, Any]:
        """The figures of its next turn."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise CslmError(f"{self._module} ended with status {self._process.wait()}; its own messages say why")
        return json.loads(line)

    def __exit__(self, *exception) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


class Turns:
    """The process's end. Whatever its libraries print goes to standard error."""

    def __init__(self):
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(self, figures: Mapping[str, Any]) -> None:
        """Says that it is ready, or the figures of the turn."""
        print(json.dumps(figures), file=self._out, flush=True)

    def wait(self) -> bool:
        """Waits for the next turn; False if there is none."""
        return bool(sys.stdin.readline())


class Stopwatch:
    """Wall-clock and processor seconds since it was made; other programs on the machine add more to the first."""

    def __init__(self):
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._wall, "cpu_seconds": time.process_time() - self._processor}
