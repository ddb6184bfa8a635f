"""What every job of the workflow has in common: its log, and how it fails."""

import ctypes
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfuscope.errors import ToldError
from mfuscope.printable import lines


@contextmanager
def job_log(path: str) -> Iterator[None]:
    """Send everything that the job and its libraries print to the job's log.

    An error ends the job with exit code 1 and a last line ``mfuscope: ...`` in the log; for errors
    that users are not expected to cause, the traceback stands above it.
    """
    log = Path(path)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8", buffering=1) as file:
        sys.stdout.flush()
        sys.stderr.flush()
        # File descriptors, not sys.stdout: native code prints too.
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except ToldError as error:
            _fail(log, str(error))
        except Exception as error:  # noqa: BLE001 - the last frame: nothing may pass unlogged
            traceback.print_exc()
            _fail(log, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _fail(log: Path, message: str) -> None:
    # Whatever is still buffered comes before, and an unfinished line (a progress bar) is ended.
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)
    written = log.read_bytes()
    unfinished = "\n" if written and not written.endswith(b"\n") else ""
    os.write(1, f"{unfinished}mfuscope: {lines(message)}\n".encode())
    sys.exit(1)
