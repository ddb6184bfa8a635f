"""What every job of the workflow has in common: its log, how it fails, and that it ends."""

import ctypes
import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from mfuscope.core.errors import MfuscopeError
from mfuscope.core.text import lines
from mfuscope.worker.watch import end_with
from mfuscope.workflow.call import Call


@contextmanager
def job_log(path: str) -> Iterator[Call]:
    """Send everything that the job and its libraries print to the job's log.

    An error ends the job with exit code 1 and last lines ``mfuscope: ...`` in the log; for errors
    that users are not expected to cause, the traceback precedes them. Where the log cannot be
    written, the last lines go to the terminal. The job ends with its call, however that ends.

    Yields:
        The call that the job belongs to.
    """
    log = Path(path)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        sys.exit(f"mfuscope: the log {log} cannot be written ({error.strerror})")
    with file:
        sys.stdout.flush()
        sys.stderr.flush()
        terminal = os.dup(2)
        # File descriptors, not sys.stdout: native code prints too.
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            call = Call.inherited()
            if call is None:
                raise RuntimeError("this job was started by no call of the workflow")
            end_with(call.runtime.owner)
            yield call
        except MfuscopeError as error:
            _fail(log, terminal, str(error))
        except Exception as error:  # noqa: BLE001 - the last frame: nothing may pass unlogged
            with suppress(OSError):
                traceback.print_exc()
            _fail(log, terminal, f"{type(error).__name__}: {' '.join(str(error).split())}")
        os.close(terminal)


def _fail(log: Path, terminal: int, message: str) -> NoReturn:
    report = "".join(f"mfuscope: {line}\n" for line in lines(message).split("\n"))
    try:
        # Whatever is still buffered comes before, and an unfinished line (a progress bar) is ended.
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)
        written = log.read_bytes()
        unfinished = "\n" if written and not written.endswith(b"\n") else ""
        content = f"{unfinished}{report}".encode()
        if os.write(1, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:  # the disk is full
        os.write(terminal, report.encode())
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # what is still buffered must not fail once more at the end
            os.dup2(nowhere, stream)
    sys.exit(1)
