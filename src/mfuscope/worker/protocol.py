"""The messages that a job and a worker exchange over their socket.

A message is its length in eight bytes, then JSON. A request carries two file descriptors: the lease
of the device, so that the device is held for as long as either side works, and the job's log, which
the worker writes to while it serves the job. The worker answers with `Opened` once the model is
ready, then with `Reply`.
"""

import os
import socket
import struct
from typing import Any, TypeVar

import msgspec

from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.measure.counters import CountedJob

#: The worker's first byte on a connection: the worker now answers, or has died.
GREETING = b"\x01"

#: No message is longer: the record of a run with a million steps has a tenth of it.
MAX_BYTES = 256 << 20

_LENGTH = struct.Struct("!Q")
_PART = 1 << 20  # bytes to allocate at once: a header may announce any length

Message = TypeVar("Message")


class ProtocolError(ConnectionError):
    """What arrived is no message; the connection cannot be used any more."""


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to the worker of a model.

    Attributes:
        model: see `planning.parameters.model_parameters`, its device as the worker sees it.
        bundled: the folder of the bundled models.
    """

    model: dict[str, Any]
    bundled: str


class MeasureRun(ModelRequest, frozen=True, kw_only=True, tag="run"):
    """Measure a page, and write the trace to a file.

    Attributes:
        key: which run this is.
        page: path of the page.
        max_megapixels: the page is refused if it has more.
        trace: path of the trace, plain JSON.
        settings: see `planning.parameters.run_parameters`.
        call: the id of the workflow's call.
    """

    key: RunKey
    page: str
    max_megapixels: float
    trace: str
    settings: dict[str, Any]
    call: str


class Calibrate(ModelRequest, frozen=True, kw_only=True, tag="calibration"):
    """Count the FLOPs of a resolution.

    Attributes:
        size: width and height in pixels of a page that a generic model's processor brings to that
            resolution; None of other models.
    """

    key: CalibrationKey
    size: tuple[int, int] | None


class TraceCounted(ModelRequest, frozen=True, kw_only=True, tag="counted"):
    """Trace the pass that is to be counted.

    Attributes:
        trace: path of the trace, plain JSON.
    """

    job: CountedJob
    trace: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """End the worker."""


#: Requests of jobs.
Work = MeasureRun | Calibrate | TraceCounted
Request = Work | End


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The model is ready, and the run itself begins."""


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """A record as JSON, or an error in one line (the job's log has the details).

    Attributes:
        insufficient_memory: the error is that the device had too little free memory.
        last: the worker ends after this answer.
    """

    record: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    insufficient_memory: bool = False
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
        ProtocolError: what arrived is no such message, or longer than `MAX_BYTES`.
        TimeoutError: the connection has a timeout, and nothing arrived for as long.
    """
    header, received, _, _ = socket.recv_fds(connection, _LENGTH.size, files)
    try:
        for file in received:
            os.set_inheritable(file, False)
        header += _exactly(connection, _LENGTH.size - len(header)) if header else b""
        length = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else None
        if length is not None and length > MAX_BYTES:
            raise ProtocolError(f"a message of {length} bytes")
        content = _exactly(connection, length) if length is not None else b""
        if length is not None and len(content) == length:
            return msgspec.json.decode(content, type=kind), received
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _close(received)
        raise ProtocolError(str(error)) from error
    except BaseException:
        _close(received)
        raise
    _close(received)  # a lease without a request must not be held
    return None, []


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _exactly(connection: socket.socket, length: int) -> bytes:
    """As many bytes as asked for, or fewer if the other side has left."""
    content = bytearray()
    while len(content) < length:
        part = connection.recv(min(length - len(content), _PART))
        if not part:
            break
        content += part
    return bytes(content)
