"""The error of one process ends it with a status that says whether to start the job again."""

import os
import time

import jax
import pytest

from cslm_jax.errors import CslmError
from cslm_jax.train import failure


@pytest.fixture
def left(monkeypatch) -> list[int]:
    """Statuses that a process of a job would have left with, if JAX had let it wait for the others."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(failure, "FAREWELL_SECONDS", 0)
    return statuses


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CslmError("a record that only this process reads"), 2),
        (ValueError("a bug"), 1),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), 1),
    ],
)
def test_what_is_to_be_mended_keeps_its_status(error, status, left):
    with pytest.raises(type(error)), failure.own_status():
        raise error
    assert _soon(left) == [status]


def test_a_broken_connection_counts_as_a_lost_process(left, caplog):
    with pytest.raises(SystemExit, match="134"), failure.own_status():
        raise jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer")
    assert _soon(left) == [134]
    assert "another process is lost" in caplog.text and "Connection reset by peer" in caplog.text


def test_leaving_as_asked_is_no_error(left):
    with pytest.raises(SystemExit, match="143"), failure.own_status():
        raise SystemExit(143)
    time.sleep(0.1)
    assert left == []


def test_alone_an_error_stays_what_it_is():
    with pytest.raises(jax.errors.JaxRuntimeError), failure.own_status():
        raise jax.errors.JaxRuntimeError("INTERNAL: a device failed")


def _soon(statuses: list[int]) -> list[int]:
    for _ in range(100):
        if statuses:
            break
        time.sleep(0.02)
    return statuses
