"""SIGTERM, which machines send before they take a job away, becomes a request to save and leave."""

import signal

import jax
from jax.experimental import multihost_utils

EXIT_STATUS = 128 + signal.SIGTERM
"""Of a run that left early: what a shell reports for a process that SIGTERM ended, so nobody takes it for a finished one."""


class Interrupt:
    """Whether the run was asked to stop; use as a context manager from the main thread.

    In a job of several processes all must stop after the same step, so JAX's coordination service, which catches
    SIGTERM itself, decides the step: the one after the last that any process has begun when the signal of one of them
    has reached all. In a single process a handler sets a flag; Ctrl-C keeps its usual meaning.
    """

    def __init__(self):
        self._asked = False
        self._previous = None

    def __enter__(self) -> "Interrupt":
        if jax.process_count() == 1:
            self._previous = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *exception) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def asked(self, step: int) -> bool:
        """Whether to stop after this step; every process must ask after each step, and gets the same answer."""
        if jax.process_count() == 1:
            return self._asked
        return multihost_utils.reached_preemption_sync_point(step)

    def _ask(self, *_) -> None:
        self._asked = True
