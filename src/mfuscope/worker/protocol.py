"""What a job and a worker say to each other over their socket.

A message is its length in eight bytes, then JSON. A request carries two file descriptors: the lease
of the device, so that it is held for as long as either side is at work, and the job's log, which
the worker writes to while it serves the job. The answer is `Opened` once the model is ready, then
`Reply`.
"""

import os
import socket
import struct
from typing import Any, TypeVar

import msgspec

#: The worker's first byte on a connection: from here on it will answer, or has died.
GREETING = b"\x01"

#: More is no message of ours: the record of a run with a million steps has a tenth of it.
MAX_BYTES = 256 << 20

_LENGTH = struct.Struct("!Q")
_PART = 1 << 20  # bytes to make room for at once: a header may promise anything

Message = TypeVar("Message")


class MessageError(ConnectionError):
    """What arrived is no message: the connection is of no more use."""


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which model a worker holds.

    Attributes:
        model: see `planning.Plan.model_settings`, its device as the worker sees it.
        bundled: the folder of the bundled models.
        variant: what the record is filed under.
    """

    model: dict[str, Any]
    bundled: str
    variant: str


class MeasureRun(ModelRequest, frozen=True, kw_only=True, tag="run"):
    """Measure a page; the trace is left as plain JSON at `trace`.

    Attributes:
        settings: see `planning.Plan.run_settings`.
    """

    page: str
    trace: str
    settings: dict[str, Any]
    image: str
    repeat: int


class Calibrate(ModelRequest, frozen=True, kw_only=True, tag="calibration"):
    """Count the FLOPs of a resolution."""

    resolution: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """End the worker."""


Request = MeasureRun | Calibrate | End


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The model is built or loaded: what comes now is the run itself."""


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """A record as JSON, or what went wrong in one line (more stands in the job's log).

    Attributes:
        short_of_memory: what went wrong is that the device's memory was too small or taken.
        last: the worker ends with this answer.
    """

    record: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    short_of_memory: bool = False
    last: bool = False


Answer = Opened | Reply


def send(connection: socket.socket, message: Request | Answer, *files: int) -> None:
    """Send a message and file descriptors."""
    content = msgspec.json.encode(message)
    header = _LENGTH.pack(len(content))
    if files:
        socket.send_fds(connection, [header], list(files))
    else:
        connection.sendall(header)
    connection.sendall(content)


def receive(
    connection: socket.socket, kind: type[Message] | Any, files: int = 0
) -> tuple[Message | None, list[int]]:
    """A message and up to `files` file descriptors; None if the other side has left.

    Raises:
        MessageError: what arrived is no such message, or longer than `MAX_BYTES`.
        TimeoutError: the connection has a timeout, and nothing arrived for as long.
    """
    header, received, _, _ = socket.recv_fds(connection, _LENGTH.size, files)
    try:
        for file in received:
            os.set_inheritable(file, False)
        header += _exactly(connection, _LENGTH.size - len(header)) if header else b""
        length = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else None
        if length is not None and length > MAX_BYTES:
            raise MessageError(f"a message of {length} bytes")
        content = _exactly(connection, length) if length is not None else b""
        if length is not None and len(content) == length:
            return msgspec.json.decode(content, type=kind), received
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _close(received)
        raise MessageError(str(error)) from error
    except BaseException:
        _close(received)
        raise
    _close(received)  # a lease that nobody answers for must not be held
    return None, []


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _exactly(connection: socket.socket, length: int) -> bytes:
    """That many bytes, or fewer if the other side has left."""
    content = bytearray()
    while len(content) < length:
        part = connection.recv(min(length - len(content), _PART))
        if not part:
            break
        content += part
    return bytes(content)
