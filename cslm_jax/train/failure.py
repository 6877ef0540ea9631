"""How a process of a job leaves when something went wrong: soon, and with a status that says whether to start the job again.

0 is a finished run, 1 a bug, 2 a mistake to mend (CslmError); 134 a process that hung or lost others and 143 one that was
asked to stop (`cslm_jax.train.interrupt`) are for whoever started the job to start it again.
"""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator

import jax

from cslm_jax.errors import CslmError

logger = logging.getLogger(__name__)

LOST_STATUS = 128 + signal.SIGABRT
"""Of a process that hung or whose others are lost. It is what a shell sees when JAX itself ends such a process."""
NOT_LOST = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED")
"""Beginnings of errors of the devices that would come again."""
FAREWELL_SECONDS = 5
"""That a process with an error waits for the others to leave with it."""


@contextlib.contextmanager
def own_status() -> Iterator[None]:
    """An error in the block ends this process of a job soon, and with the status of that error.

    On its way out JAX lets a process wait for the others. If all of them failed alike, they come. If only this one did,
    they wait for it in a collective: five minutes later JAX would end it like one that was lost, and what is to be mended
    would be started again.

    Raises:
        SystemExit: LOST_STATUS, for an error of the devices or of what connects them.
    """
    try:
        yield
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        lost = isinstance(error, jax.errors.JaxRuntimeError) and not str(error).startswith(NOT_LOST)
        status = LOST_STATUS if lost else 2 if isinstance(error, CslmError) else 1
        leave = threading.Timer(FAREWELL_SECONDS, os._exit, [status])
        leave.daemon = True
        leave.start()
        if not lost:
            raise
        message = "the devices failed, or another process is lost (it may have said why). The same command goes on from the "
        logger.exception(message + "last checkpoint")
        raise SystemExit(status) from error
