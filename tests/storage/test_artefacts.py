"""How files get to the disk: whole, lasting, or not at all and in words."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
from mounts import read_only, small_disk

from mfuscope.core.errors import UserError
from mfuscope.storage import artefacts
from mfuscope.storage.artefacts import (
    check_space,
    check_writable,
    file_note,
    whole_file,
    write_bytes,
    write_columns,
    write_json,
    write_noted,
)
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


def test_a_text_has_its_size_and_digest_noted_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    for text in ("long and wide", "näh"):
        write_noted(path, text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert file_note(path).read_text().split() == [str(path.stat().st_size), digest]
    assert write_columns(tmp_path / "t.csv", {"a": [1], "b": ["ä"]}) == len("a,b\n1,ä\n".encode())


def test_a_note_is_never_beside_another_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.md"
    write_noted(path, "long and wide")

    def check(path: Path, content: bytes) -> None:
        assert not file_note(path).exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(artefacts, "write_bytes", check)
    with pytest.raises(KeyboardInterrupt):
        write_noted(path, "short")


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


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "16k"):
        write_bytes(disk / "old.csv", b"old")
        with pytest.raises(UserError, match=r"table\.csv could not be written, the disk is full"):
            write_bytes(disk / "table.csv", bytes(100_000))
        (tmp_path / "trace.json").write_bytes(os.urandom(100_000))
        with pytest.raises(UserError, match=r"No space left.*keep_traces: none"):
            pack_trace(tmp_path / "trace.json", disk / "0.json.gz")
        assert [path.name for path in disk.iterdir()] == ["old.csv"]
        with pytest.raises(
            UserError, match=r"only 0\.0 MB are free on the disk of .*free at least"
        ):
            check_space(disk)
    check_space(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (disk / "runs").mkdir(parents=True)
    new = [tmp_path / "new" / "a.json", disk / "runs" / "page.png" / "0.json"]
    check_writable(new)
    with read_only(disk), pytest.raises(UserError, match=r"disk/runs' cannot be .*chmod"):
        check_writable(new)
    assert not (tmp_path / "new").exists(), "nothing is made to find out"
