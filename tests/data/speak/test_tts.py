"""Synthesisers: the same few lines of config for espeak-ng, any program and any server; what goes wrong is told, by field."""

import collections
import dataclasses
import functools
import json
import shlex
import sys

import numpy as np
import pytest
from conftest import sound_file, waveform

from cslm_jax.data.speak.config import CommandConfig, EndpointConfig, EspeakConfig, HttpConfig
from cslm_jax.data.speak.tts import choose_voice, say
from cslm_jax.errors import BadRecord, CslmError, TryAgain
from cslm_jax.speech import espeak

TEXT = "the red dog; 'quoted' $HOME {voice} 一只红狗"


@pytest.fixture
def spoken(tmp_path):
    """Function of a synthesiser and a text: its sound."""

    def spoken(tts, text=TEXT, voice="anna", failures_in_a_row=20):
        return say(text, "en", voice, "answer[en]", tts, str(tmp_path / "spoken"), failures_in_a_row)

    return spoken


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


# Voices --------------------------------------------------------------------------------------------


def test_voices_are_chosen_by_the_record_alone():
    tts = CommandConfig("x {output}", voices=("anna", "bob", "chen"))
    chosen = [choose_voice(tts, f"record-{i}") for i in range(300)]
    assert chosen == [choose_voice(tts, f"record-{i}") for i in range(300)]
    assert all(80 < count < 120 for count in collections.Counter(chosen).values())
    # Written down: another version of the code must choose alike, or all would be synthesised again.
    assert chosen[:8] == ["bob", "chen", "bob", "chen", "anna", "anna", "chen", "bob"]
    assert len({choose_voice(EspeakConfig(), f"record-{i}") for i in range(300)}) > 280


def test_espeak(spoken, tmp_path):
    sound = spoken(EspeakConfig(), "the red dog", "f1-165-50")
    np.testing.assert_allclose(sound, espeak.speak("the red dog", "en", espeak.Voice("f1", 165, 50)), atol=1e-4)
    np.testing.assert_array_equal(spoken(EspeakConfig(), "the red dog", "f1-165-50"), sound)
    assert len(files_of(tmp_path)) == 1


def test_nothing_to_say(spoken, server):
    for tts in (EspeakConfig(), HttpConfig(EndpointConfig(server.url), ("anna",))):
        with pytest.raises(BadRecord, match=r"tts: field `answer\[en\]`: there is nothing to say in '\?!'"):
            spoken(tts, "?!")
    assert not server.requests


# A server ------------------------------------------------------------------------------------------


@pytest.fixture
def http(server) -> HttpConfig:
    """An OpenAI-compatible one, say."""
    server.answer = lambda request, before: (200, {"Content-Type": "audio/wav"}, sound_file(waveform(request.json["input"])))
    endpoint = EndpointConfig(server.url + "/v1/audio/speech", attempts=2, backoff_s=0.01)
    return HttpConfig(endpoint, ("anna",), body={"input": "{text}", "voice": "{voice}", "options": {"lang": "{language}"}})


def test_a_server_is_asked_once(server, http, spoken):
    sound = spoken(http)
    assert server.requests[0].json == {"input": TEXT, "voice": "anna", "options": {"lang": "en"}}
    assert len(sound) / 16000 == pytest.approx(0.5 + 0.1 * len(TEXT), abs=0.01)
    np.testing.assert_array_equal(spoken(http), sound)
    assert len(server.requests) == 1
    spoken(http, voice="bob")
    spoken(http, text="another")
    spoken(dataclasses.replace(http, body={**http.body, "speed": 1.1}))
    assert len(server.requests) == 4


def test_a_damaged_sound_is_asked_for_again(server, http, spoken, tmp_path):
    sound = spoken(http)
    (path,) = files_of(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    np.testing.assert_array_equal(spoken(http), sound)
    assert len(server.requests) == 2 and len(files_of(tmp_path)) == 1


def test_a_server_with_a_name_may_move(server, other_server, http, spoken):
    other_server.answer = server.answer
    first, moved = (dataclasses.replace(http.endpoint, name="openvoice", url=s.url) for s in (server, other_server))
    for endpoint in (first, moved):
        spoken(dataclasses.replace(http, endpoint=endpoint))
    assert len(server.requests) == 1 and not other_server.requests
    spoken(dataclasses.replace(http, endpoint=dataclasses.replace(moved, name="")))
    assert len(other_server.requests) == 1


def test_cosyvoices_own_server(server, spoken, tmp_path):
    """Form fields in, bare samples out; with a recording to clone, multipart."""
    samples = (waveform(TEXT) * 32768).astype("<i2")
    server.answer = lambda request, before: (200, {}, samples.tobytes())
    tts = HttpConfig(EndpointConfig(server.url), ("英文女",), form={"tts_text": "{text}", "spk_id": "{voice}"}, pcm_rate=22050)
    assert len(spoken(tts, voice="英文女")) / 16000 == pytest.approx(len(samples) / 22050, abs=0.001)
    assert server.requests[0].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert b"spk_id=%E8%8B%B1%E6%96%87%E5%A5%B3" in server.requests[0].body
    prompt = tmp_path / "anna.wav"
    prompt.write_bytes(sound_file(waveform("prompt")))
    clone = dataclasses.replace(tts, form={"tts_text": "{text}"}, files={"prompt_wav": str(tmp_path / "{voice}.wav")})
    spoken(clone)
    request = server.requests[1]
    assert request.headers["Content-Type"].startswith("multipart/form-data") and prompt.read_bytes() in request.body
    assert b'name="prompt_wav"; filename="anna.wav"' in request.body and TEXT.encode() in request.body
    with pytest.raises(CslmError, match="bob.wav, which is to be sent to the synthesiser, cannot be read"):
        spoken(clone, voice="bob")


def test_a_server_that_is_asked_by_address(server, http, spoken):
    server.answer = lambda request, before: (200, {}, sound_file(waveform("x")))
    spoken(dataclasses.replace(http, method="GET", body={}, form={"text": "{text}"}), "a b")
    assert server.requests[0].path == "/v1/audio/speech?text=a+b"


NAN = np.full(9000, np.nan, np.float32)


@pytest.mark.parametrize(
    ("answer", "pcm_rate", "error", "says"),
    [
        ((200, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>"), 22050, TryAgain, "no sound: b'<html>"),
        ((200, {}, b"<html>Bad gateway</html>"), 0, TryAgain, "no sound: b'<html>"),
        ((200, {"Content-Type": "application/json"}, b'{"error": 1}'), 0, TryAgain, "no sound"),
        ((200, {}, b""), 0, TryAgain, "empty sound"),
        ((200, {}, b"odd"), 16000, TryAgain, "no sound"),
        ((200, {}, sound_file(np.zeros(0, np.float32))), 0, BadRecord, "is empty"),
        ((200, {}, sound_file(NAN, subtype="FLOAT")), 0, BadRecord, "NaN"),
        ((200, {}, sound_file(np.zeros(9000, np.float32))), 0, BadRecord, "silent"),
        ((200, {}, sound_file(np.ones(16000 * 40, np.float32), 16000)), 0, BadRecord, "lasts 40.00 s"),
        ((500, {}, b"CUDA out of memory"), 0, TryAgain, "status 500: CUDA out of memory (2 attempts)"),
        ((422, {}, b'{"detail": "text too long"}'), 0, TryAgain, "status 422: text too long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_speech(server, http, spoken, answer, pcm_rate, error, says):
    """Told with the field; what may be better another time is tried again then, what is in the sound itself is not."""
    server.answer = lambda request, before: answer
    with pytest.raises(BadRecord) as caught:
        spoken(dataclasses.replace(http, pcm_rate=pcm_rate))
    assert type(caught.value) is error
    assert "field `answer[en]`" in caught.value.reason and says in caught.value.reason


def test_a_server_that_is_gone_stops_the_work(server, http, spoken):
    server.answer = lambda request, before: (503, {}, b"gone")
    ask = functools.partial(spoken, dataclasses.replace(http, endpoint=dataclasses.replace(http.endpoint, attempts=1)))
    for _ in range(4):
        with pytest.raises(TryAgain):
            ask(failures_in_a_row=5)
    with pytest.raises(
        CslmError, match=rf"{server.url}/v1/audio/speech failed for 5 texts in a row, .*status 503: gone"
    ) as caught:
        ask(failures_in_a_row=5)
    assert not isinstance(caught.value, BadRecord)


# A program -----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CommandConfig("piper", ("anna",)), "{output}"),
        (lambda: CommandConfig("piper {output}", ()), "voices"),
        (lambda: HttpConfig(EndpointConfig("http://x"), ()), "voices"),
        (lambda: HttpConfig(EndpointConfig("http://x"), ("a",), body={"a": 1}, form={"b": "c"}), "one of the two"),
    ],
)
def test_a_wrong_field_is_named(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_request_survives_json(http):
    assert json.loads(json.dumps(http.identity)) == http.identity
