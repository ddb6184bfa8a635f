"""The messages of jobs and workers, and how they arrive."""

import os
import socket
import struct
import threading
import tracemalloc

import msgspec
import pytest
from messages import GARBAGE, RUN_REQUEST

from mfuscope.core.runs import CalibrationKey
from mfuscope.worker.protocol import (
    MAX_BYTES,
    Calibrate,
    End,
    ProtocolError,
    Reply,
    Request,
    receive,
    send,
)


@pytest.mark.parametrize(
    "message",
    [
        RUN_REQUEST,
        Calibrate(model={}, bundled="b", key=CalibrationKey("v", "512"), size=(3, 4)),
        End(),
    ],
)
def test_a_request_arrives_with_its_files(message: Request) -> None:
    near, far = socket.socketpair()
    with near, far:
        read, write = os.pipe()
        send(near, message, write)
        received, files = receive(far, Request, files=2)
        assert received == message
        os.write(files[0], b"x")
        assert os.read(read, 1) == b"x"
        for file in (read, write, *files):
            os.close(file)


def test_a_large_reply_arrives_whole() -> None:
    near, far = socket.socketpair()
    record = msgspec.json.encode({"steps": list(range(300_000))})
    with near, far:
        sending = threading.Thread(target=send, args=(near, Reply(record=msgspec.Raw(record))))
        sending.start()
        reply, _ = receive(far, Reply)
        sending.join()
    assert reply is not None
    assert bytes(reply.record) == record
    assert reply.error == ""


@pytest.mark.parametrize("sent", [b"", b"\0\0\0", b"\0\0\0\0\0\0\0\x09half"])
def test_a_broken_connection_is_no_message(sent: bytes) -> None:
    near, far = socket.socketpair()
    with far:
        near.sendall(sent)
        near.close()
        assert receive(far, Reply) == (None, [])


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_message(kind: str) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.sendall(GARBAGE[kind])
        with pytest.raises(ProtocolError):
            receive(far, Request, files=2)


def test_a_header_allocates_no_memory() -> None:
    """Memory is allocated for what has arrived, and not for the length that a header announces."""
    near, far = socket.socketpair()
    with far:
        near.sendall(struct.pack("!Q", MAX_BYTES) + b"x")
        near.close()
        tracemalloc.start()
        assert receive(far, Request) == (None, [])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_request_that_breaks_off_leaves_no_file_open() -> None:
    near, far = socket.socketpair()
    read, write = os.pipe()
    with far:
        socket.send_fds(near, [b"\0\0\0\0\0\0\0\x09half"], [write])
        os.close(write)
        near.close()
        assert receive(far, Request, files=2) == (None, [])
    assert os.read(read, 1) == b"", "the other end of the pipe is closed everywhere"
    os.close(read)
