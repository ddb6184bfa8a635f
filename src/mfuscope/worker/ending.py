"""Ends workers from outside: idle ones by a request, hanging ones by force."""

import os
import select
import shutil
import signal
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mfuscope.worker.protocol import End, send
from mfuscope.worker.runtime import Runtime, connect

_CREDENTIALS = struct.Struct("3i")  # process, user and group
_END_S = 5.0  # how long an ending worker may take to release its device


@contextmanager
def process_behind(connection: socket.socket) -> Iterator[int]:
    """A file descriptor (``pidfd``) of the worker at the other side of a connection.

    Raises:
        ProcessLookupError: it has ended.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process = os.pidfd_open(_CREDENTIALS.unpack(credentials)[0])
    try:
        yield process
    finally:
        os.close(process)


def wait_for_end(process: int) -> bool:
    """Wait until an ending process has ended; False if it takes too long."""
    return bool(select.select([process], [], [], _END_S)[0])


def kill(process: int) -> None:
    """End a process by force, and wait until it has released its device."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    wait_for_end(process)


def end_idle(folders: Iterable[Path]) -> int:
    """End the idle workers of some folders, and wait until they have released their devices.

    Returns:
        How many workers there were.
    """
    ended = 0
    for folder in folders:
        connection = connect(folder)
        if connection is None:
            continue
        with (
            connection,
            suppress(ConnectionError, ProcessLookupError),
            process_behind(connection) as worker,
        ):
            send(connection, End())
            if not wait_for_end(worker):  # it is stopped, or hangs
                kill(worker)
            ended += 1
    return ended


def end_workers(runtime: Runtime) -> None:
    """End the owner's workers and remove its folder, once none of its jobs is left."""
    folder = runtime.owner_folder
    if folder.is_dir():
        end_idle(folder.iterdir())
        shutil.rmtree(folder, ignore_errors=True)
