"""A run's trace file: Chrome-trace JSON, packed with gzip, decoded into typed events.

Only the fields that :mod:`mfuscope.traces.columns` needs are decoded; that is what makes it fast.
"""

import mmap
import re
import shutil
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from isal import igzip

from mfuscope.core.errors import TraceError, UserError
from mfuscope.storage.artefacts import whole_file

#: More text than this is refused rather than risked: twenty times the longest run seen.
MAX_TEXT_BYTES: Final = 4 << 30


# Five times as fast as zlib at its fastest, and smaller. Higher levels take longer for nothing.
_GZIP_LEVEL: Final = 2
# The last event and their list are closed, and after it come the object's last fields.
_END: Final = re.compile(rb'\}\s*\]\s*(,\s*"\w+":\s*("[^"]*"|[\w.+-]+)\s*)*\}\s*\Z')
_TAIL_BYTES: Final = 8 << 10  # has room for those
_KERNEL: Final = b'"cat": "kernel"'

# Archives of results tell nobody where they were made. torch writes the host's name near the
# beginning of a trace and its path at the end; what lies between is copied as it is.
_PRIVATE: Final = re.compile(rb'"(host_name|traceName)": ?"[^"]*"')
_EMPTY: Final = rb'"\1": ""'
_EDGE: Final = 1 << 16  # bytes
_PART: Final = 1 << 20


# gc=False: without it, the collector would visit half a million acyclic objects again and again.
class _Args(msgspec.Struct, frozen=True, gc=False):
    external_id: int = msgspec.field(default=0, name="External id")
    correlation: int = 0
    nbytes: int = msgspec.field(default=0, name="Bytes")
    device_type: int = msgspec.field(default=-1, name="Device Type")


_NO_ARGS: Final = _Args()


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event, as far as it is needed: times in microseconds."""

    cat: str = ""
    name: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: float = 0.0
    dur: float = 0.0
    args: _Args = _NO_ARGS


class _Document(msgspec.Struct, frozen=True, gc=False):
    events: list[Event] = msgspec.field(name="traceEvents")


def check_written(plain: Path) -> None:
    """Check that the profiler left a whole trace: on a full disk it leaves none, or part of one.

    Raises:
        UserError: the trace is not there, or its end is missing.
    """
    if _END.search(_tail(plain)) is None:
        free = shutil.disk_usage(plain.parent).free
        raise UserError(
            f"the profiler could not write its trace to {plain.parent}, where {free >> 20} MB are "
            "free",
            f"free space in {plain.parents[2]}, then run the same command again",
        )


def _tail(path: Path) -> bytes:
    """The last bytes of a file, none where there is no file."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read()


def pack_trace(plain: Path, packed: Path) -> None:
    """Compress a trace as the profiler left it, and remove that; whole or not at all.

    Raises:
        UserError: the disk is full.
    """
    try:
        with (
            plain.open("rb") as source,
            whole_file(packed) as file,
            igzip.open(file, "wb", _GZIP_LEVEL) as target,
        ):
            _copy(source, target, plain.stat().st_size)
    finally:
        plain.unlink(missing_ok=True)


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Copy a trace without the host's name and the path of the file that is about to go."""
    target.write(_PRIVATE.sub(_EMPTY, source.read(_EDGE)))
    left = size - 2 * _EDGE
    while left > 0 and (part := source.read(min(left, _PART))):
        target.write(part)
        left -= len(part)
    target.write(_PRIVATE.sub(_EMPTY, source.read()))


def holds_kernels(plain: Path) -> bool:
    """Whether a trace, as the profiler left it, holds a device's kernels; without decoding it."""
    with plain.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(_KERNEL) >= 0


def read_events(path: Path) -> list[Event]:
    """All events of a trace file (gzip is told by its content, not by its name).

    Raises:
        TraceError: the file is empty, damaged, truncated or no Chrome trace.
        OSError: the file cannot be opened.
    """
    try:
        return msgspec.json.decode(_text(path), type=_Document).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TraceError(path, f"is no Chrome trace in JSON ({error})") from error


def _text(path: Path) -> bytes:
    data = path.read_bytes()
    if not data:
        raise TraceError(path, "is empty")
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(path, data)
    if len(data) > MAX_TEXT_BYTES:
        raise TraceError(path, f"holds more than {MAX_TEXT_BYTES >> 30} GiB of text")
    return data


def _gunzip(path: Path, data: bytes) -> bytes:
    # zlib instead of gzip.decompress: it stops at the size limit, and its errors are one type.
    members: list[bytes] = []
    room = MAX_TEXT_BYTES + 1
    while data and room > 0:
        member = zlib.decompressobj(wbits=31)
        try:
            members.append(member.decompress(data, room))
        except zlib.error as error:
            raise TraceError(path, f"is damaged gzip ({error})") from error
        room -= len(members[-1])
        if not member.eof and room > 0:
            raise TraceError(path, "is truncated gzip")
        data = member.unused_data.lstrip(b"\0")  # gzip allows zeros as padding
    return members[0] if len(members) == 1 else b"".join(members)
