"""Endpoints: what is tried again and what is not, and that keys stay where they are."""

import dataclasses
import time

import pytest

from cslm_jax.data.speak import endpoint
from cslm_jax.data.speak.config import EndpointConfig
from cslm_jax.errors import BadRecord, CslmError, TryAgain

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def config(server) -> EndpointConfig:
    return EndpointConfig(server.url + "/v1", attempts=3, backoff_s=0.01, timeout_s=2.0)


def failing(times: int, status: int, headers=None, body=b"busy"):
    return lambda request, before: (status, headers or {}, body) if before < times else (200, {}, b"good")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_what_may_recover_is_asked_again(server, config, status):
    server.answer = failing(2, status)
    assert endpoint.ask(config, "tts", "/speech", json={"a": 1}).data == b"good"
    assert [request.path for request in server.requests] == ["/v1/speech"] * 3
    assert all(request.json == {"a": 1} for request in server.requests)


def test_retry_after_is_honoured_and_bounded(server, config):
    server.answer = failing(1, 429, {"Retry-After": "1"})
    started = time.monotonic()
    endpoint.ask(config, "tts")
    assert time.monotonic() - started >= 1
    server.requests.clear()
    server.answer = failing(1, 429, {"Retry-After": "3600"})
    started = time.monotonic()
    endpoint.ask(dataclasses.replace(config, longest_wait_s=0.05), "tts")
    assert time.monotonic() - started < 1 and len(server.requests) == 2


def test_a_server_that_stays_busy(server, config):
    server.answer = failing(99, 503, body=b'{"detail": "loading the\\nmodel"}')
    with pytest.raises(TryAgain, match=rf"^tts: {config.url} answered with status 503: loading the model \(3 attempts\)"):
        endpoint.ask(config, "tts")
    assert len(server.requests) == 3


def test_a_timeout(server, config):
    def slow(request, before):
        time.sleep(0.3)
        return 200, {}, b"good"

    server.answer = slow
    with pytest.raises(TryAgain, match=rf"{config.url} failed 3 times: .*timed out"):
        endpoint.ask(dataclasses.replace(config, timeout_s=0.05), "tts")
    assert len(server.requests) == 3


def test_an_answer_that_breaks_off_is_asked_again(server, config):
    server.answer = lambda request, before: (200, {"Content-Length": "999"} if not before else {}, b"good")
    assert endpoint.ask(config, "tts").data == b"good"
    assert len(server.requests) == 2


def test_nobody_answers(server, config):
    server.close()
    with pytest.raises(TryAgain, match="failed 3 times: .*refused"):
        endpoint.ask(config, "translate")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_text_that_is_refused_is_one_records_fault(server, config, status):
    server.answer = failing(99, status, body=b'{"error": {"message": "content filter"}}')
    with pytest.raises(BadRecord, match=f"status {status}: content filter"):
        endpoint.ask(config, "tts")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_what_every_text_would_get_stops_the_work(server, config, monkeypatch, status):
    """And the key, which some servers quote, is not repeated, not even in parts."""
    monkeypatch.setenv("MY_KEY", KEY)
    server.answer = failing(99, status, body=b"x" * 160 + f" incorrect API key provided: {KEY}".encode())
    with pytest.raises(CslmError, match=rf"status {status}: x* incorrect API key provided: \*\*\*; .*api_key_env") as caught:
        endpoint.ask(dataclasses.replace(config, api_key_env="MY_KEY"), "tts")
    assert not isinstance(caught.value, BadRecord) and len(server.requests) == 1
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}" and KEY[:5] not in str(caught.value)


def test_a_key_that_is_not_set_is_named(config, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(CslmError, match="NO_SUCH_KEY"):
        endpoint.ask(dataclasses.replace(config, api_key_env="NO_SUCH_KEY"), "tts")


@pytest.mark.parametrize("fields", [{"url": "localhost:8000"}, {"attempts": 0}, {"timeout_s": 0}])
def test_a_wrong_field_is_named(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        EndpointConfig(**{"url": "http://localhost", **fields})
