"""Ends a worker when nobody is left whom it could serve."""

import select
import socket
import threading
from collections.abc import Callable
from typing import NoReturn

_GONE = select.EPOLLRDHUP | select.EPOLLHUP


class DeathWatch:
    """A thread that sleeps until a process ends or a connection is closed, then ends this process.

    It costs a measurement nothing: the kernel wakes it once.
    """

    def __init__(self, end: Callable[[], NoReturn]) -> None:
        self._end = end
        self._epoll = select.epoll()
        threading.Thread(target=self._sleep, daemon=True).start()

    def watch_process(self, file: int) -> None:
        """End with the process of this descriptor (``os.pidfd_open``)."""
        self._epoll.register(file, select.EPOLLIN)

    def watch_connection(self, connection: socket.socket) -> None:
        """End when the other side of a connection leaves."""
        self._epoll.register(connection, _GONE)

    def forget(self, connection: socket.socket) -> None:
        """Let a connection be closed."""
        self._epoll.unregister(connection)

    def _sleep(self) -> None:
        self._epoll.poll(maxevents=1)
        self._end()
