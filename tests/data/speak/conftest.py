"""A server on this machine that answers as a test says, and counts what it is asked."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import json
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cslm_jax.data.speak.tts import say

sys.path.insert(0, str(Path(__file__).parent))


@dataclasses.dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


Answer = tuple[int, Mapping[str, str], bytes]


class Server:
    """`server.answer` decides each answer: a function of the request and of how many came before it."""

    def __init__(self):
        self.requests: list[Request] = []
        self.answer: Callable[[Request, int], Answer] = lambda request, before: (200, {}, b"")
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.path, dict(self.headers), body)
                before = len(owner.requests)
                owner.requests.append(request)
                status, headers, content = owner.answer(request, before)
                try:
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    pass  # who asked has given up

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def other_server():
    server = Server()
    yield server
    server.close()


def waveform(text: str, rate: int = 22050) -> np.ndarray:
    """Noise that depends on the text alone, long enough for it."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
    return np.random.default_rng(seed).normal(0, 0.1, int((0.5 + 0.1 * len(text)) * rate)).astype(np.float32)


def sound_file(samples: np.ndarray, rate: int = 22050, format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=format, subtype=subtype)
    return content.getvalue()


def completion(text: str | None, finish: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


TEXT = "the red dog; 'quoted' $HOME {voice} 一只红狗"


@pytest.fixture
def spoken(tmp_path):
    """Function of a synthesiser and a text: its sound."""

    def spoken(tts, text=TEXT, voice="anna", failures_in_a_row=20):
        return say(text, "en", voice, "answer[en]", tts, str(tmp_path / "spoken"), failures_in_a_row)

    return spoken
