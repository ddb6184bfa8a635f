"""Libraries that print while they decode: kept off the terminal."""

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop what libraries print to the standard error stream, warnings and native code's alike.

    For the workflow's own process. Jobs have a log, which takes it (`jobs.job_log`).
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # libtiff knows nothing of sys.stderr
    os.close(nowhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)
        os.dup2(terminal, 2)
        os.close(terminal)
