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
    has reached all, and not before the first. In a single process a handler sets a flag; Ctrl-C keeps its usual meaning.
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

    def asked(self, taken: int) -> bool:
        """Whether to stop after so many steps of this call; every process must ask before the first step (0) and after
        each, and gets the same answer."""
        if jax.process_count() == 1:
            return self._asked
        # The service counts from 0 too: a signal that comes before the first question asks for a stop after 1.
        return multihost_utils.reached_preemption_sync_point(taken)

    def _ask(self, *_) -> None:
        self._asked = True
