"""Full disks and folders that cannot be written to, in words."""

import os
from pathlib import Path

import pytest
from mounts import read_only, small_disk

from mfuscope.core.errors import UserError
from mfuscope.storage.artefacts import write_bytes
from mfuscope.storage.space import check_space, check_writable, report_access
from mfuscope.traces.file import pack_trace


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
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


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "0.json"
    loop.symlink_to(loop)
    with (
        pytest.raises(UserError, match=r"0\.json cannot be read or removed .*permission"),
        report_access(tmp_path),
    ):
        loop.read_bytes()
