"""Ending workers from outside: idle ones by asking, ones that do not answer by force."""

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
from mfuscope.worker.runtime import connect, job_owner

_CREDENTIALS = struct.Struct("3i")  # process, user and group
_END_S = 5.0  # for a worker that was told to end to let its device go


@contextmanager
def process_behind(connection: socket.socket) -> Iterator[int]:
    """The worker at the other side of a connection, as a descriptor that means no other process.

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
    """Wait until a process that is about to end has; False if it takes too long."""
    return bool(select.select([process], [], [], _END_S)[0])


def kill(process: int) -> None:
    """End a process, whatever it is doing, and wait until it has let its device go."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    wait_for_end(process)


def end_idle(folders: Iterable[Path]) -> int:
    """End the workers of some folders, and wait until they have let their devices go.

    Returns:
        How many there were.
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
            if not wait_for_end(worker):  # stopped, or hangs
                kill(worker)
            ended += 1
    return ended


def end_workers() -> None:
    """End this workflow's workers, once none of its jobs is left."""
    folder = job_owner().folder
    if folder.is_dir():
        end_idle(folder.iterdir())
        shutil.rmtree(folder, ignore_errors=True)
