"""Synthesisers that are programs: the text arrives as it is, and what goes wrong is told in the program's words."""

import shlex
import sys

import pytest
from conftest import TEXT

from cslm_jax.data.speak.config import CommandConfig
from cslm_jax.errors import BadRecord, CslmError, TryAgain


def program(tmp_path, source: str) -> str:
    script = tmp_path / "a program.py"
    script.write_text("import sys, time, wave\n" + source)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"


SPEAKS = """
said = {said}
w = wave.open(sys.argv[1], "wb")
w.setparams((1, 2, 22050, 0, "NONE", ""))
w.writeframes(b"\\1\\2" * (8000 + len(said)))
open(sys.argv[2], "a").write(repr((said, sys.argv[3:])) + "\\n")
"""


@pytest.mark.parametrize(
    ("said", "more"),
    [
        ("sys.argv[5]", "{text}"),
        ("open(sys.argv[5], encoding='utf-8').read()", "{text_file}"),
        ("sys.stdin.buffer.read().decode()", ""),
    ],
    ids=["argument", "file", "stdin"],
)
def test_a_program_gets_the_text_as_it_is(spoken, tmp_path, said, more):
    log = tmp_path / "log"
    command = f"{program(tmp_path, SPEAKS.format(said=said))} {{output}} {shlex.quote(str(log))} {{voice}} {{language}} {more}"
    tts = CommandConfig(command, ("anna",))
    for _ in range(2):
        assert len(spoken(tts)) == pytest.approx((8000 + len(TEXT)) * 16000 / 22050, abs=1)
    (line,) = log.read_text().splitlines()
    assert repr(TEXT) in line and "'anna', 'en'" in line


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("print('loading', file=sys.stderr); print('no such voice\\n', file=sys.stderr); sys.exit(3)", "code 3: no such voice"),
        ("time.sleep(9)", "more than 0.3 s"),
        ("print('done')", "wrote no sound: done"),
        ("open(sys.argv[1], 'w')", "wrote no sound"),
        ("open(sys.argv[1], 'w').write('<html>')", "gave something that is no sound"),
    ],
)
def test_a_program_that_fails(spoken, tmp_path, source, says):
    tts = CommandConfig(program(tmp_path, source) + " {output}", ("anna",), timeout_s=0.3 if "sleep" in source else 20)
    with pytest.raises(TryAgain) as caught:
        spoken(tts)
    assert says in caught.value.reason and "field `answer[en]`" in caught.value.reason


def test_a_program_that_is_not_there_stops_the_work(spoken):
    with pytest.raises(CslmError, match="`no-such-program` cannot be run") as caught:
        spoken(CommandConfig("no-such-program {output}", ("anna",)))
    assert not isinstance(caught.value, BadRecord)
