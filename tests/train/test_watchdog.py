"""Who gets nowhere is ended, with a message; who only takes long is not."""

import os
import time

import pytest

from cslm_jax.train import watchdog
from cslm_jax.train.watchdog import Watchdog


@pytest.fixture
def ended(monkeypatch) -> list[int]:
    """Statuses that the process would have ended with."""
    statuses: list[int] = []

    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(watchdog, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(watchdog, "LAST_WORDS_SECONDS", 0)
    return statuses


def wait_somewhere():
    time.sleep(0.4)


def test_a_stall_ends_the_process_and_says_where(ended, capfd):
    with Watchdog(stall_minutes=0.1 / 60, slow_seconds=100) as dog:
        dog.reached("step 7")
        wait_somewhere()
    assert ended == [134]
    said = capfd.readouterr().err
    assert "process 0 of 1 has been at step 7 since 20" in said and "train.stall_minutes" in said
    assert "in wait_somewhere" in said, "the stacks"


def test_progress_is_no_stall(ended):
    with Watchdog(stall_minutes=0.2 / 60, slow_seconds=100) as dog:
        for step in range(10):
            dog.reached(f"step {step}")
            time.sleep(0.04)
    assert ended == []


def test_time_in_which_the_process_was_stopped_does_not_count(ended, monkeypatch):
    dog = Watchdog(stall_minutes=0.1 / 60, slow_seconds=100)
    wait = dog._left.wait
    monkeypatch.setattr(dog._left, "wait", lambda seconds: time.sleep(0.15) or wait(0))  # stopped in every tick
    with dog:
        wait_somewhere()
    assert ended == []


def test_zero_means_never(ended):
    with Watchdog(stall_minutes=0, slow_seconds=100):
        wait_somewhere()
    assert ended == []


def test_a_slow_step_gets_one_warning_and_compiling_none(ended, caplog):
    with Watchdog(stall_minutes=1, slow_seconds=0.05) as dog:
        dog.reached("step 0")
        time.sleep(0.2)
        assert caplog.text == ""
        dog.reached("step 1", brief=True)
        time.sleep(0.2)
    assert [record.getMessage()[:36] for record in caplog.records] == ["process 0 of 1 has been at step 1 fo"]
    assert "last checkpoint" in caplog.text
