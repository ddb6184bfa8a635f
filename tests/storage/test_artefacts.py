"""How files get to the disk: whole, lasting, or not at all and in words."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

import builders
import pytest

from mfuscope.core.errors import InvalidFileError
from mfuscope.core.records import Conditions, Run
from mfuscope.storage.artefacts import (
    read_json,
    whole_file,
    write_bytes,
    write_columns,
    write_json,
)
from mfuscope.storage.tables import read_table
from mfuscope.traces.file import pack_trace


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the system, in order: what is forced to the disk, and what is renamed."""
    made: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def logged_fsync(file: int) -> None:
        name = Path(f"/proc/self/fd/{file}").readlink().name
        name = re.sub(r"\.\d+\.partial", ".partial", name)
        size = os.fstat(file).st_size
        made.append(f"fsync {name} of {size}" if "." in name else f"fsync {name}")
        fsync(file)

    def logged_replace(path: Path, target: Path) -> Any:
        made.append(f"rename to {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(Path, "replace", logged_replace)
    return made


def test_a_file_is_on_the_disk_before_it_has_its_name(calls: list[str], tmp_path: Path) -> None:
    path = tmp_path / "here" / "table.csv"
    path.parent.mkdir()
    write_bytes(path, b"content")
    assert calls == [
        "fsync .table.csv.partial of 7",
        "rename to table.csv",
        "fsync here",
    ]
    assert path.read_bytes() == b"content"


def test_new_folders_last_too(calls: list[str], tmp_path: Path) -> None:
    write_bytes(tmp_path / "one" / "two" / "t.csv", b"content")
    assert calls[:2] == [f"fsync {tmp_path.name}", "fsync one"]
    assert calls[-1] == "fsync two"


def test_a_packed_trace_lasts_like_any_file(calls: list[str], tmp_path: Path) -> None:
    plain, packed = tmp_path / "trace.json", tmp_path / "0.json.gz"
    plain.write_text('{"traceEvents": []}')
    pack_trace(plain, packed)
    size = packed.stat().st_size
    assert calls[:2] == [
        f"fsync .0.json.gz.partial of {size}",
        "rename to 0.json.gz",
    ]
    assert len(calls) == 3


def test_what_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_bytes(path, b"old")

    def break_off() -> None:
        with whole_file(path) as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_job_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".table.csv.99999999.partial").write_bytes(b"more than there will be")
    write_bytes(tmp_path / "table.csv", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_bytes() == b"new"


def test_columns_report_their_bytes(tmp_path: Path) -> None:
    assert write_columns(tmp_path / "t.csv", {"a": [1], "b": ["ä"]}) == len("a,b\n1,ä\n".encode())
    assert (tmp_path / "t.csv").read_text() == "a,b\n1,ä\n"


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", builders.run())
    assert read_json(tmp_path / "run.json", Run) == builders.run()


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", "is truncated"),
        (b'{"protocol": 1', "is truncated"),
        (b"\0" * 100, "is truncated"),
        (b"{}", "is no run record"),
        (b'{"protocol": "\xff"}', "is no run record"),
        (b'{"settings": ' + b"[" * 100_000, "is no run record"),
    ],
    ids=["empty", "half", "zeros", "other", "no utf-8", "deep"],
)
def test_what_is_no_record_is_named_with_a_remedy(
    content: bytes, finding: str, tmp_path: Path
) -> None:
    path = tmp_path / "it's a run.json"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError) as caught:
        read_json(path, Run)
    message = str(caught.value)
    assert message.startswith(f"{path} {finding}")
    assert len(message.splitlines()) == 1
    assert message.endswith(
        f"Remedy: `rm {shlex.quote(str(path))}` and run the same command again."
    )


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_only_regular_files_are_opened(kind: str, tmp_path: Path) -> None:
    """A FIFO would hang its reader; /dev/zero would fill the memory."""
    path = tmp_path / "0.json"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()
    for read in (lambda: read_json(path, Run), lambda: read_table(path)):
        with pytest.raises(InvalidFileError, match=r"0\.json is no regular file"):
            read()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "0.json", Run)


def test_a_file_system_that_cannot_force_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").is_dir():
            raise OSError(22, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(os, "fsync", refuse)
    write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "a.json").exists()


@pytest.mark.parametrize("end", range(1, len(b'{"a":null,"b":[1.5,"x"]}')))
def test_a_record_is_truncated_wherever_it_is_cut(end: int, tmp_path: Path) -> None:
    """Also within a literal, a number or a text."""
    path = tmp_path / "record.json"
    path.write_bytes(b'{"a":null,"b":[1.5,"x"]}'[:end])
    with pytest.raises(InvalidFileError, match="is truncated"):
        read_json(path, Conditions)
