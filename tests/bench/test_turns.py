"""Two processes in turns: their figures come through whatever their libraries print, and a death is told."""

import pytest

from cslm_jax.bench.turns import Side
from cslm_jax.errors import CslmError

PROGRAM = """
import sys
from cslm_jax.bench.turns import Turns
turns = Turns()
print("a library says hello")
turns.tell({"folder": sys.argv[1]})
count = 0
while turns.wait():
    count += 1
    if count == 3:
        sys.exit(7)
    print("and again")
    turns.tell({"turn": count})
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    (tmp_path / "a_side.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{__import__('os').environ.get('PYTHONPATH', '')}")
    return "a_side"


def test_figures_come_turn_by_turn(module, tmp_path):
    with Side(module, tmp_path) as side:
        assert side.ready == {"folder": str(tmp_path)}
        assert [side.turn(), side.turn()] == [{"turn": 1}, {"turn": 2}]
        with pytest.raises(CslmError, match="a_side ended with status 7"):
            side.turn()
