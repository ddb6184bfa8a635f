"""Keeping what libraries print while they decode off the terminal."""

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop what libraries, native code included, write to the standard error stream.

    For the workflow's own process, with all of its threads. Jobs keep such output in their logs.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # libtiff writes to the descriptor, not to sys.stderr
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
