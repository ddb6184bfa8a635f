"""Messages to workers, and bytes that are no message."""

import struct

from mfuscope.core.runs import RunKey
from mfuscope.worker.protocol import MAX_BYTES, MeasureRun

RUN_REQUEST = MeasureRun(
    model={"model": "a"},
    bundled="models",
    key=RunKey("baseline", "ä.png", 2),
    page="pages/ä.png",
    max_megapixels=150,
    trace="t.json",
    settings={"profiler": {"with_stack": False}},
    call="20260102T030400Z-0a1b2c",
)


GARBAGE = {
    "a length beyond all memory": b"\xff" * 8 + b"x" * 1000,
    "a length beyond the limit": struct.pack("!Q", MAX_BYTES + 1),
    "no JSON": struct.pack("!Q", 5) + b"\x80\x04K\x01.",  # a pickle, as it happens
    "JSON of another kind": struct.pack("!Q", 15) + b'{"type": "run"}',
    "a message of no type": struct.pack("!Q", 2) + b"[]",
    "too deep": struct.pack("!Q", 100_000) + b"[" * 100_000,
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}
