"""The worker's process: builds a model once and serves requests for it, one at a time.

The worker ends together with its workflow, together with the job that it serves, after an idle
time, and after an error that may have left the model in an undefined state. The next job starts
another worker.

    python -m mfuscope.worker.server FOLDER OWNER KEEP_ALIVE
"""

import ctypes
import faulthandler
import gc
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from mfuscope.core.errors import InsufficientMemoryError, OutOfMemoryError, UserError
from mfuscope.worker.protocol import (
    GREETING,
    Calibrate,
    End,
    ModelRequest,
    Opened,
    Reply,
    Request,
    TraceCounted,
    Work,
    receive,
    send,
)
from mfuscope.worker.runtime import SOCKET, Owner, remove_worker_folder
from mfuscope.worker.watch import DeathWatch

if TYPE_CHECKING:  # the first request imports torch, so that its log has what torch prints
    from mfuscope.measure.session import Session

_FIRST_REQUEST_S = 60.0  # the job that starts a worker connects at once
_REQUEST_S = 10.0  # a job sends its request at once; others wait meanwhile


class Worker:
    """Holds the session of one model on one device."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def record(self, request: Work, opened: Callable[[], None]) -> object:
        """The record that a request asks for; calls `opened` once the model is ready."""
        session = self._open(request)
        opened()
        if isinstance(request, Calibrate):
            from mfuscope.measure.calibration import calibrate

            return calibrate(session, request.key, request.size)
        if isinstance(request, TraceCounted):
            from mfuscope.measure.counted_pass import trace_pass

            return trace_pass(session, request.job, Path(request.trace))
        from mfuscope.measure.passes import RunSettings, measure

        return measure(
            session,
            Path(request.page),
            Path(request.trace),
            RunSettings.from_mapping(request.settings),
            key=request.key,
            max_megapixels=request.max_megapixels,
            call=request.call,
        )

    def _open(self, request: ModelRequest) -> "Session":
        if self._session is None:
            from mfuscope.measure.session import open_session

            self._session = open_session(request.model, Path(request.bundled))
            # It lives as long as this process: no collection need look at it, which takes 0.2 s.
            gc.collect()
            gc.freeze()
        return self._session


def serve(folder: Path, owner: Owner, keep_alive: float) -> NoReturn:
    """Listen in a folder until there is a reason to end, then end the process."""

    def end() -> NoReturn:
        remove_worker_folder(folder, owner)
        os._exit(0)  # the main thread may be in the middle of a run

    watch = DeathWatch(end)
    watch.watch_process(owner)
    worker = Worker()
    with socket.socket(socket.AF_UNIX) as listening:
        _bind(listening, folder)
        listening.listen(64)
        listening.settimeout(_FIRST_REQUEST_S)
        goes_on = True
        while goes_on:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                break
            with connection:
                goes_on = _serve_one(connection, worker, watch, last=not keep_alive)
            listening.settimeout(keep_alive or _FIRST_REQUEST_S)
        # Before the socket closes, so that no job finds a socket without a worker.
        remove_worker_folder(folder, owner)
    os._exit(0)  # at once: torch and CUDA take long to shut down


def _bind(listening: socket.socket, folder: Path) -> None:
    """Take the place in a folder, which a worker that is about to end may be removing."""
    for _ in range(100):
        with suppress(FileNotFoundError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A killed worker left it: a job starts a worker only if none listens.
            (folder / SOCKET).unlink(missing_ok=True)
            listening.bind(str(folder / SOCKET))
            return
    raise FileNotFoundError(folder)


def _serve_one(connection: socket.socket, worker: Worker, watch: DeathWatch, *, last: bool) -> bool:
    """Answer one request; returns whether to go on, which an undefined state forbids."""
    connection.settimeout(_REQUEST_S)
    try:
        connection.sendall(GREETING)
        request, files = receive(connection, Request, files=2)
    except (ConnectionError, TimeoutError):
        return True  # no request, and no job that waits for an answer
    if request is None:
        return True  # a process only looked whether there is a worker
    if isinstance(request, End):
        return False
    if len(files) != 2:  # no job of ours sent it
        for file in files:
            os.close(file)
        return True
    lease, log = files
    connection.settimeout(None)
    watch.watch_connection(connection)
    goes_on = not last

    def opened() -> None:
        with suppress(ConnectionError):  # the job has left: the watch ends this process
            send(connection, Opened())

    with _output_to(log):
        try:
            record = worker.record(request, opened)
            reply = Reply(record=msgspec.Raw(msgspec.json.encode(record)))
        except UserError as error:
            insufficient = isinstance(error, InsufficientMemoryError)
            reply = Reply(error=str(error), insufficient_memory=insufficient)
            goes_on = goes_on and not isinstance(error, OutOfMemoryError)
        except Exception as error:  # noqa: BLE001 - the job gets it, and the worker ends
            traceback.print_exc()
            reply = Reply(error=f"{type(error).__name__}: {' '.join(str(error).split())}")
            goes_on = False
    watch.ignore_connection(connection)
    reply = msgspec.structs.replace(reply, last=not goes_on)
    if goes_on:
        os.close(lease)  # else the device stays leased until this process has ended
    with suppress(ConnectionError):
        send(connection, reply)
    gc.collect()
    return goes_on


@contextmanager
def _output_to(file: int) -> Iterator[None]:
    """Send all output, that of native code included, to a file, and later output to /dev/null."""
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)


if __name__ == "__main__":
    faulthandler.enable()  # a crash in native code says where, in the job's log
    serve(Path(sys.argv[1]), Owner.parse(sys.argv[2]), float(sys.argv[3]))
