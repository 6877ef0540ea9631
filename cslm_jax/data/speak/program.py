"""Sound from any program that writes a file."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cslm_jax.data.speak.config import CommandConfig
from cslm_jax.data.speak.sound import STAGE, Sound, decode
from cslm_jax.data.speak.template import fill
from cslm_jax.errors import CslmError, TryAgain


def run(tts: CommandConfig, values: Mapping[str, str]) -> Sound:
    """What the command makes of the placeholders' values.

    Raises:
        TryAgain: it failed, took too long, or wrote no sound.
        CslmError: there is no such program.
    """
    with tempfile.TemporaryDirectory() as folder:
        text, output, said = (Path(folder) / name for name in ("text.txt", "sound.wav", "said.txt"))
        text.write_text(values["text"], encoding="utf-8")
        values = {**values, "text_file": str(text), "output": str(output)}
        words = [fill(word, values) for word in shlex.split(tts.command)]
        try:
            # What it says goes into a file: a pipe would stay open as long as any child of the program lives.
            with text.open("rb") as stdin, said.open("wb") as both:
                done = subprocess.run(words, stdin=stdin, stdout=both, stderr=both, timeout=tts.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TryAgain(STAGE, f"`{words[0]}` took more than {tts.timeout_s} s{_last_line(said)}") from error
        except OSError as error:
            raise CslmError(f"`{words[0]}` cannot be run ({error.strerror}); see the command of the synthesiser") from error
        if done.returncode:
            raise TryAgain(STAGE, f"`{words[0]}` ended with code {done.returncode}{_last_line(said)}")
        if not output.is_file() or not output.stat().st_size:
            raise TryAgain(STAGE, f"`{words[0]}` wrote no sound{_last_line(said)}")
        return decode(output.read_bytes(), f"`{words[0]}`")


def _last_line(said: Path) -> str:
    lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((f": {line.strip()[:200]}" for line in reversed(lines) if line.strip()), "")
