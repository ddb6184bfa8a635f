"""What jobs and workers say to each other, and how it arrives."""

import os
import socket
import struct
import threading
import tracemalloc

import msgspec
import pytest

from mfuscope.worker import messages
from mfuscope.worker.messages import Calibrate, End, MeasureRun, Reply, Request, receive, send

RUN_REQUEST = MeasureRun(
    model={"model": "a"},
    bundled="models",
    variant="baseline",
    page="pages/ä.png",
    trace="t.json",
    settings={"profiler": {"with_stack": False}},
    image="ä.png",
    repeat=2,
)


@pytest.mark.parametrize(
    "message",
    [RUN_REQUEST, Calibrate(model={}, bundled="b", variant="v", resolution="512"), End()],
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


GARBAGE = {
    "a length beyond all memory": b"\xff" * 8 + b"x" * 1000,
    "a length beyond the limit": struct.pack("!Q", messages.MAX_BYTES + 1),
    "no JSON": struct.pack("!Q", 5) + b"\x80\x04K\x01.",  # a pickle, as it happens
    "JSON of another kind": struct.pack("!Q", 15) + b'{"type": "run"}',
    "a message of no type": struct.pack("!Q", 2) + b"[]",
    "too deep": struct.pack("!Q", 100_000) + b"[" * 100_000,
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_message(kind: str) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.sendall(GARBAGE[kind])
        with pytest.raises(messages.MessageError):
            receive(far, Request, files=2)


def test_a_message_may_not_promise_memory() -> None:
    """Room is made for what has arrived, and not for what a header promises."""
    near, far = socket.socketpair()
    with far:
        near.sendall(struct.pack("!Q", messages.MAX_BYTES) + b"x")
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
