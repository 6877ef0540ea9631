"""Synthesisers behind a server: how it is asked, and what of its answers is no speech; told by field."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXT, sound_file, waveform

from cslm_jax.data.speak.config import EndpointConfig, HttpConfig
from cslm_jax.errors import BadRecord, CslmError, TryAgain


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


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
    assert type(caught.value) is error and (server.url in caught.value.reason or says == "silent")
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


def test_a_request_survives_json(http):
    assert json.loads(json.dumps(http.identity)) == http.identity
