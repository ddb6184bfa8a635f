"""The worker's process: builds a model once and serves requests for it, one at a time.

It ends with the workflow that it belongs to, however that ends, when the job that it serves goes
away, after an idle time, and after any error that it cannot vouch for: the next job starts another.

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
    MeasureRun,
    ModelRequest,
    Opened,
    Reply,
    Request,
    receive,
    send,
)
from mfuscope.worker.runtime import SOCKET, Owner, remove_worker_folder
from mfuscope.worker.watch import DeathWatch

if TYPE_CHECKING:  # torch is imported with the first request, whose log then has any trouble
    from mfuscope.measure.session import Session

_FIRST_REQUEST_S = 60.0  # whoever starts a worker connects at once
_REQUEST_S = 10.0  # and who is greeted sends at once; who does not, keeps others waiting


class Worker:
    """Holds the session of one model on one device."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def record(self, request: MeasureRun | Calibrate, opened: Callable[[], None]) -> object:
        """Do what a request asks for; `opened` is called once the model is ready."""
        session = self._open(request)
        opened()
        if isinstance(request, Calibrate):
            from mfuscope.measure.calibration import calibrate

            return calibrate(session, request.resolution, variant=request.variant)
        from mfuscope.measure.passes import RunSettings, measure

        return measure(
            session,
            Path(request.page),
            Path(request.trace),
            RunSettings.from_mapping(request.settings),
            variant=request.variant,
            image=request.image,
            repeat=request.repeat,
        )

    def _open(self, request: ModelRequest) -> "Session":
        if self._session is None:
            from mfuscope.measure.session import open_session

            self._session = open_session(request.model, Path(request.bundled))
        return self._session


def serve(folder: Path, owner: Owner, keep_alive: float) -> NoReturn:
    """Listen in a folder until there is a reason to end, then end the process."""

    def end() -> NoReturn:
        remove_worker_folder(folder, owner)
        os._exit(0)  # whatever the main thread is doing

    watch = DeathWatch(end)
    try:
        watch.watch_process(os.pidfd_open(owner.pid))
    except ProcessLookupError:
        end()
    if not owner.alive:  # its number went to another process
        end()
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
        # Before the socket closes: no job can come too late and find nobody.
        remove_worker_folder(folder, owner)
    os._exit(0)  # at once: torch and CUDA take their time to say goodbye


def _bind(listening: socket.socket, folder: Path) -> None:
    """Take the place in a folder, which a worker that is about to end may be removing."""
    for _ in range(100):
        with suppress(FileNotFoundError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A killed worker's: whoever starts a worker has found nobody listening.
            (folder / SOCKET).unlink(missing_ok=True)
            listening.bind(str(folder / SOCKET))
            return
    raise FileNotFoundError(folder)


def _serve_one(connection: socket.socket, worker: Worker, watch: DeathWatch, *, last: bool) -> bool:
    """Answer one request, and say whether to go on; not after the last, nor an unsound one."""
    connection.settimeout(_REQUEST_S)
    try:
        connection.sendall(GREETING)
        request, files = receive(connection, Request, files=2)
    except (ConnectionError, TimeoutError):
        return True  # no message of ours, and nobody who could be told
    if request is None:
        return True  # somebody only looked whether there is a worker
    if isinstance(request, End):
        return False
    if len(files) != 2:  # nobody's who would wait for an answer
        for file in files:
            os.close(file)
        return True
    lease, log = files
    connection.settimeout(None)
    watch.watch_connection(connection)
    goes_on = not last

    def opened() -> None:
        with suppress(ConnectionError):  # the watch knows what to do
            send(connection, Opened())

    with _output_to(log):
        try:
            record = worker.record(request, opened)
            reply = Reply(record=msgspec.Raw(msgspec.json.encode(record)))
        except UserError as error:
            short = isinstance(error, InsufficientMemoryError)
            reply = Reply(error=str(error), short_of_memory=short)
            goes_on = goes_on and not isinstance(error, OutOfMemoryError)
        except Exception as error:  # noqa: BLE001 - told to the job; the worker ends
            traceback.print_exc()
            reply = Reply(error=f"{type(error).__name__}: {' '.join(str(error).split())}")
            goes_on = False
    watch.forget(connection)
    reply = msgspec.structs.replace(reply, last=not goes_on)
    if goes_on:
        os.close(lease)  # else the device stays taken until this process has left it
    with suppress(ConnectionError):
        send(connection, reply)
    gc.collect()
    return goes_on


@contextmanager
def _output_to(file: int) -> Iterator[None]:
    """Send everything that is printed, also by native code, to a file; to nowhere afterwards."""
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
