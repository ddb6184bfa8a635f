"""A run's trace file: checks, compresses and decodes Chrome-trace JSON.

Decoding is fast because it skips the fields that :mod:`mfuscope.traces.columns` does not need.
"""

import mmap
import re
import shutil
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from isal import igzip

from mfuscope.core.errors import TraceError, UserError
from mfuscope.storage.artefacts import whole_file
from mfuscope.traces.graphs import METADATA

#: Limit of a trace's uncompressed text: twenty times the longest run measured so far.
MAX_TEXT_BYTES: Final = 4 << 30


# Five times as fast as zlib's fastest level, and smaller. Higher levels only take longer.
_GZIP_LEVEL: Final = 2
# The end of the last event and of the list of events, then the object's last fields.
_END: Final = re.compile(rb'\}\s*\]\s*(,\s*"\w+":\s*("[^"]*"|[\w.+-]+)\s*)*\}\s*\Z')
_TAIL_BYTES: Final = 8 << 10  # enough for the last fields
_KERNEL: Final = b'"cat": "kernel"'

# The setting profiler.with_stack adds an event for each Python function. torch writes its name and
# file as they are: quotes in them end the string, and not all are UTF-8. No table needs the names.
_FUNCTION: Final = b'"cat": "python_function"'
_FUNCTION_NAME: Final = re.compile(
    rb"(" + _FUNCTION + rb',\s*"name": ").*?(",\s*"pid": [-\w"]+,\s*"tid": )', re.DOTALL
)

# Archives of results must not reveal the machine. torch writes the host's name near the beginning
# of a trace and the file's path at the end; the text between them is copied unchanged.
_PRIVATE: Final = re.compile(rb'"(host_name|traceName)": ?"[^"]*"')
_EMPTY: Final = rb'"\1": ""'
_EDGE: Final = 1 << 22  # bytes: before the host's name may stand the graphs of `traces.graphs`
_PART: Final = 1 << 20


# gc=False keeps the collector from visiting half a million acyclic objects repeatedly.
class _Args(msgspec.Struct, frozen=True, gc=False):
    external_id: int = msgspec.field(default=0, name="External id")
    correlation: int = 0
    nbytes: int = msgspec.field(default=0, name="Bytes")
    device_type: int = msgspec.field(default=-1, name="Device Type")


_NO_ARGS: Final = _Args()


class Event(msgspec.Struct, frozen=True, gc=False):
    """The fields of one event that are used; times in microseconds."""

    cat: str = ""
    name: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: float = 0.0
    dur: float = 0.0
    args: _Args = _NO_ARGS


class Document(msgspec.Struct, frozen=True, gc=False):
    """A trace: its events, and the metadata of captured CUDA graphs (`traces.graphs`)."""

    events: list[Event] = msgspec.field(name="traceEvents")
    graphs: dict[str, Any] | None = msgspec.field(default=None, name=METADATA)


def check_written(plain: Path) -> None:
    """Check that the profiler wrote a complete trace: on a full disk it writes none, or a part.

    Raises:
        UserError: the trace or its end is missing.
    """
    if _END.search(_tail(plain)) is None:
        free = shutil.disk_usage(plain.parent).free
        raise UserError(
            f"the profiler could not write its trace to {plain.parent}, where {free >> 20} MB are "
            "free",
            f"free space in {plain.parents[2]}, then run the same command again",
        )


def _tail(path: Path) -> bytes:
    """The last bytes of a file; empty if the file does not exist."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read()


def pack_trace(plain: Path, packed: Path) -> None:
    """Compress the profiler's trace atomically, and remove the plain file.

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
    """Copy a trace without the host's name and the path of the plain file."""
    target.write(_PRIVATE.sub(_EMPTY, source.read(_EDGE)))
    left = size - 2 * _EDGE
    while left > 0 and (part := source.read(min(left, _PART))):
        target.write(part)
        left -= len(part)
    target.write(_PRIVATE.sub(_EMPTY, source.read()))


def holds_kernels(plain: Path) -> bool:
    """Whether the profiler's plain trace holds kernels of a device; searches without decoding."""
    with plain.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(_KERNEL) >= 0


def read_document(path: Path) -> Document:
    """A trace file, gzipped or plain; its first bytes decide, not its name.

    Raises:
        TraceError: the file is empty, damaged, truncated or no Chrome trace.
        OSError: the file cannot be opened.
    """
    text = _text(path)
    if stacks := _FUNCTION in text:
        text = _FUNCTION_NAME.sub(rb"\1\2", text)
    try:
        return msgspec.json.decode(text, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        cause = "; the setting profiler.with_stack puts names into it unescaped" if stacks else ""
        raise TraceError(path, f"is no Chrome trace in JSON ({error}){cause}") from error


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
    # zlib, not gzip.decompress: it stops at the size limit and raises one type of error.
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
