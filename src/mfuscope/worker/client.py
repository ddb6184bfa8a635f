"""A job's side: lease a device, find or start the worker of a model there, have it serve."""

import hashlib
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from mfuscope.errors import WorkerError
from mfuscope.hardware.threads import measuring_threads
from mfuscope.worker.leases import Lease, MeasuringDevice, candidates, lease
from mfuscope.worker.messages import (
    GREETING,
    Calibrate,
    End,
    MeasureRun,
    Reply,
    receive,
    send,
)
from mfuscope.worker.places import Owner, connect, job_owner

_PAUSE_S = 0.01  # between two looks for a worker that is starting
_CREDENTIALS = struct.Struct("3i")  # process, user and group
_END_S = 10.0  # for a worker that ends to let its device go
# What Snakemake and others set for jobs; a worker inherits none of it.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class Link:
    """A leased device and the worker on it."""

    def __init__(self, owner: Owner, keep_alive: float, held: Lease, model: dict[str, Any]) -> None:
        self._owner = owner
        self._keep_alive = keep_alive
        self._lease = held
        self.model = model | {"device": held.device.torch_name}
        self.folder = _folder(owner, model, held.device)

    def ask(self, request: MeasureRun | Calibrate) -> bytes:
        """The record that a request asks for, as JSON.

        Raises:
            WorkerError: the worker says why not, or died; its own words stand in the job's log.
        """
        with self._connection() as connection:
            try:
                send(connection, request, self._lease.file, sys.stderr.fileno())
                reply, _ = receive(connection, Reply)
            except ConnectionError:
                reply = None
            if reply is None:
                raise WorkerError(
                    "the model worker ended in the middle of this run: it was killed, crashed, or "
                    "the system ran out of memory (the kernel's log tells)"
                )
            if reply.error:
                raise WorkerError(reply.error)
            return bytes(reply.record)

    def _connection(self) -> socket.socket:
        process = None
        while True:
            connection = connect(self.folder)
            if connection is not None:
                try:
                    if connection.recv(1) == GREETING:
                        return connection
                except ConnectionError:
                    pass  # it was about to end: the next one is ours
                connection.close()
            if process is None:
                process = self._start()
            elif process.poll() is not None:
                raise WorkerError(f"the model worker did not start (status {process.returncode})")
            time.sleep(_PAUSE_S)

    def _start(self) -> subprocess.Popen[bytes]:
        threads = dict.fromkeys(_THREAD_VARIABLES, str(measuring_threads()))
        # A session of its own: Ctrl-C reaches the workflow, and the worker ends with that.
        return subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "mfuscope.worker.server"),
                *(str(self.folder), str(self._owner), str(self._keep_alive)),
            ],
            env=os.environ | threads | self._lease.device.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


@contextmanager
def leased_worker(model: dict[str, Any]) -> Iterator[Link]:
    """Lease a device for a model (`planning.Plan.model_settings`), one with its worker if free."""
    owner, keep_alive = job_owner()
    devices = candidates(model["device"])
    with lease(devices, prefer=lambda device: _folder(owner, model, device).exists()) as held:
        yield Link(owner, keep_alive, held, model)


def end_workers() -> None:
    """End this workflow's workers and wait until they have let their devices go."""
    owner, _ = job_owner()
    if not owner.folder.is_dir():
        return
    for folder in owner.folder.iterdir():
        connection = connect(folder)
        if connection is None:
            continue
        with connection, suppress(ConnectionError, ProcessLookupError):
            credentials = connection.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
            )
            worker = os.pidfd_open(_CREDENTIALS.unpack(credentials)[0])
            send(connection, End())
            # One that is at work reads no message; it ends with this process.
            select.select([worker], [], [], _END_S)
            os.close(worker)
    shutil.rmtree(owner.folder, ignore_errors=True)


def _folder(owner: Owner, model: dict[str, Any], device: MeasuringDevice) -> Path:
    content = msgspec.json.encode([model, device.id], order="sorted")
    return owner.folder / hashlib.sha256(content).hexdigest()[:16]
