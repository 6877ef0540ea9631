"""When to stop asking: one failure is a record's bad luck, many in a row are not."""

from __future__ import annotations

import functools
import threading

from cslm_jax.errors import BadRecord, CslmError


class Patience:
    """`with patience:` around each request; after so many BadRecords in a row it raises CslmError in place of the last one."""

    def __init__(self, name: str, failures: int):
        self._name, self._failures = name, failures
        self._in_a_row, self._lock = 0, threading.Lock()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, _) -> None:
        if error is not None and not isinstance(error, BadRecord):
            return
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if error else 0
            if self._in_a_row < self._failures:
                return
            self._in_a_row = 0
        raise CslmError(
            f"{self._name} failed for {self._failures} texts in a row, the last time so: {error}; see to it, then run the same "
            "command again: it goes on where this one stopped"
        ) from error


@functools.cache
def patience_with(name: str, failures: int) -> Patience:
    """The one of this process, for all its threads and records."""
    return Patience(name, failures)
