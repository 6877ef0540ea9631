"""A run that makes no progress ends with a message, so that whatever started it can start it again.

JAX itself ends the processes of a job when one of them is gone or frozen (`train.heartbeat_seconds`). What it does not
notice is a process that lives and gets nowhere: the others then wait for it in a collective, without a word and without
an end (jax-ml/jax issue 38503).
"""

import faulthandler
import logging
import os
import sys
import threading
import time

import jax

from cslm_jax.train.failure import LOST_STATUS

logger = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 5
"""Between the message and the end. JAX ends the others when one is gone, and they have something to say too."""
_TICK_SECONDS = 0.5


class Watchdog:
    """Ends the process when it stays at one place of the run for too long; use as a context manager.

    It counts seconds in which the process could have run: one that was stopped meanwhile (Ctrl-Z, a laptop that slept)
    has not stalled.

    Args:
        stall_minutes: for how long; 0 means for ever.
        slow_seconds: after which a step gets a warning, for the end that JAX makes of a process leaves no time for words.
    """

    def __init__(self, stall_minutes: float, slow_seconds: float):
        self._stall, self._slow = 60 * stall_minutes or float("inf"), slow_seconds
        self._seconds = 0.0  # of the watch; only its thread counts
        self.reached("the start (restoring or initialising)")
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._left.set()
        self._thread.join()

    def reached(self, place: str, brief: bool = False) -> None:
        """Progress: the run is now at `place`, which usually is `brief` or may take its time (compiling, a checkpoint)."""
        self._place, self._warn = place, brief
        self._since = self._seconds

    def _watch(self) -> None:
        while not self._left.wait(_TICK_SECONDS):
            self._seconds += _TICK_SECONDS
            here = self._seconds - self._since
            if here >= self._stall:
                return self._end()
            if here >= self._slow and self._warn:
                self._warn = False
                logger.warning(
                    "%s has been at %s for %.0f s. If another process is lost, JAX soon ends this one too; then start the "
                    "job again, it goes on from its last checkpoint", _me(), self._place, here,
                )  # fmt: skip

    def _end(self) -> None:
        try:
            print(self._last_words(), file=sys.stderr)
            faulthandler.dump_traceback(sys.__stderr__)  # not sys.stderr, which in a notebook is no file
            time.sleep(LAST_WORDS_SECONDS)
        finally:
            # Not sys.exit: what hangs would hang the leaving too.
            os._exit(LOST_STATUS)

    def _last_words(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(time.time() - self._seconds + self._since))
        return (
            f"\ncslm train: {_me()} has been at {self._place} since {since}, longer than train.stall_minutes="
            f"{self._stall / 60:g}, and ends itself with status {LOST_STATUS}. The stacks below say where it waits. If it "
            "waits for its devices or for the others, look for the process that waits for something else, or that said "
            "nothing: its machine is to be checked. Start the job again, and it goes on from its last checkpoint"
        )


def _me() -> str:
    return f"process {jax.process_index()} of {jax.process_count()}"
