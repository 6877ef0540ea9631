"""Asking a server over HTTP: patiently where it may recover, and not at all where it says that the request is wrong."""

from __future__ import annotations

import functools
import json
import os
import urllib.parse
import urllib.request
from typing import Any

import urllib3

from cslm_jax.data.speak.config import EndpointConfig
from cslm_jax.errors import CslmError, TryAgain

_MAY_RECOVER = frozenset({408, 425, 429, *range(500, 600)})
# The server understood, and refuses what this record holds.
_REFUSES_THE_TEXT = frozenset({400, 413, 422})
_CONNECT_S = 10.0
_QUOTED = 200


def ask(endpoint: EndpointConfig, stage: str, path: str = "", method: str = "POST", **request: Any) -> urllib3.BaseHTTPResponse:
    """The server's good answer.

    Args:
        stage: of the errors.
        path: appended to the endpoint's url.
        request: json=, fields= and the like, see urllib3's `request`.

    Raises:
        TryAgain: no answer, one that may be better later (408, 425, 429, 5xx) after all attempts, or one that refuses this
            text (400, 413, 422).
        CslmError: an answer that every text would get (say, 401 or 404), or there is no key in api_key_env.
    """
    url = endpoint.url + path
    key = _key(endpoint)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = _pool(endpoint).request(method, url, headers=headers, **request)
    except urllib3.exceptions.HTTPError as error:
        reason = getattr(error, "reason", None) or error
        raise TryAgain(stage, f"{url} failed {endpoint.attempts} times: {reason}") from error
    if answer.status < 300:
        return answer
    said = f"{url} answered with status {answer.status}: {_message(answer.data, key)}"
    if answer.status in _MAY_RECOVER:
        raise TryAgain(stage, f"{said} ({endpoint.attempts} attempts)")
    if answer.status in _REFUSES_THE_TEXT:
        raise TryAgain(stage, said)
    raise CslmError(f"{said}; mend the endpoint's url, model or key (api_key_env), then run the same command again")


@functools.cache
def _pool(endpoint: EndpointConfig) -> urllib3.PoolManager:
    retries = urllib3.Retry(
        endpoint.attempts - 1,
        allowed_methods=None,
        status_forcelist=_MAY_RECOVER,
        raise_on_status=False,
        backoff_factor=endpoint.backoff_s / 2,
        backoff_jitter=endpoint.backoff_s / 2,
        backoff_max=endpoint.longest_wait_s,
        retry_after_max=endpoint.longest_wait_s,
    )
    timeout = urllib3.Timeout(connect=min(_CONNECT_S, endpoint.timeout_s), read=endpoint.timeout_s)
    options = {"maxsize": 64, "retries": retries, "timeout": timeout}
    address = urllib.parse.urlsplit(endpoint.url)
    # As the machine is set up (https_proxy, no_proxy), which urllib3 leaves to its user.
    proxy = None if urllib.request.proxy_bypass(address.netloc) else urllib.request.getproxies().get(address.scheme)
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


def _key(endpoint: EndpointConfig) -> str:
    if not endpoint.api_key_env:
        return ""
    key = os.environ.get(endpoint.api_key_env, "")
    if not key:
        raise CslmError(f"the environment variable {endpoint.api_key_env} is to hold the key for {endpoint.url}; it is not set")
    return key


def _message(content: bytes, key: str) -> str:
    """What a server says went wrong: OpenAI's and FastAPI's fields, or the beginning of the page. Some quote the key."""
    text = content.decode("utf-8", "replace")
    text = text.replace(key, "***") if key else text
    try:
        said = json.loads(text)
        said = said.get("error") or said.get("detail") or said.get("message")
        said = said.get("message") if isinstance(said, dict) else said
    except (ValueError, AttributeError):
        said = text
    return " ".join(str(said or text).split())[:_QUOTED]
