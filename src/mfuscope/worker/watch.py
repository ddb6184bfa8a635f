"""Ends a process together with another one, or with the other side of a connection."""

import os
import select
import socket
import threading
from collections.abc import Callable
from typing import NoReturn

from mfuscope.worker.runtime import Owner

_GONE = select.EPOLLRDHUP | select.EPOLLHUP


class DeathWatch:
    """A thread that sleeps until a process ends or a connection is closed, then ends this process.

    It costs a measurement nothing: the kernel wakes it once.
    """

    def __init__(self, end: Callable[[], NoReturn]) -> None:
        self._end = end
        self._epoll = select.epoll()
        threading.Thread(target=self._sleep, daemon=True).start()

    def watch_process(self, owner: Owner) -> None:
        """End with a process; at once if it has ended already."""
        try:
            self._epoll.register(os.pidfd_open(owner.pid), select.EPOLLIN)
        except ProcessLookupError:
            self._end()
        if not owner.alive:  # another process has its number by now
            self._end()

    def watch_connection(self, connection: socket.socket) -> None:
        """End when the other side of a connection leaves."""
        self._epoll.register(connection, _GONE)

    def ignore_connection(self, connection: socket.socket) -> None:
        """Stop watching a connection, which may then be closed."""
        self._epoll.unregister(connection)

    def _sleep(self) -> None:
        self._epoll.poll(maxevents=1)
        self._end()


def end_with(owner: Owner) -> None:
    """End this process, with status 1, as soon as the owner's process has ended in any way.

    No job of a workflow may outlive it, not even a workflow that was ended by ``kill -9``. The
    owner must run on this machine (`runtime.adopt`). Returns at once if it is this process.
    """
    if owner.pid != os.getpid():
        DeathWatch(lambda: os._exit(1)).watch_process(owner)
