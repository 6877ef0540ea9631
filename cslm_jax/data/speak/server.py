"""Sound from any server that answers a text with it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cslm_jax.data.speak import endpoint
from cslm_jax.data.speak.config import HttpConfig
from cslm_jax.data.speak.sound import STAGE, Sound, decode, no_sound
from cslm_jax.data.speak.template import fill
from cslm_jax.errors import CslmError, TryAgain

Uploads = Mapping[str, tuple[str, bytes]]
"""Name and content of files by form field."""


def uploads(tts: HttpConfig, values: Mapping[str, str]) -> Uploads:
    """The files that go with a request."""
    paths = {field: Path(fill(path, values)) for field, path in tts.files.items()}
    return {field: (path.name, _content(path)) for field, path in paths.items()}


@functools.lru_cache(256)
def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CslmError(f"{path}, which is to be sent to the synthesiser, cannot be read ({error.strerror})") from error


def ask(tts: HttpConfig, values: Mapping[str, str], sent: Uploads) -> Sound:
    """What the server makes of the placeholders' values; errors as those of `endpoint.ask` and `decode`."""
    url, answer = tts.endpoint.url, endpoint.ask(tts.endpoint, STAGE, method=tts.method, **_request(tts, values, sent))
    if not answer.data:
        raise TryAgain(STAGE, f"{url} answered with an empty sound")
    # Bare samples look like anything, so also like a page that says what is wrong.
    if answer.headers.get("Content-Type", "").startswith(("text/", "application/json")):
        raise no_sound(answer.data, url)
    return decode(answer.data, url, tts.pcm_rate)


def _request(tts: HttpConfig, values: Mapping[str, str], sent: Uploads) -> dict[str, Any]:
    """Arguments of urllib3's `request`."""
    if tts.body:
        return {"json": fill(tts.body, values)}
    fields = {**fill(tts.form, values), **sent}
    return {"fields": fields} if tts.method == "GET" else {"fields": fields, "encode_multipart": bool(sent)}
