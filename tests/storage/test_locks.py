"""The lock on results: one call at a time, and no lock outlives its process."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mfuscope.core.errors import UserError
from mfuscope.storage.locks import LOCK, hold_results

HOLD = (
    "import sys, time; from pathlib import Path; from mfuscope.storage.locks import hold_results\n"
    "hold_results(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
)


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    results, link = tmp_path / "results", tmp_path / "link"
    link.symlink_to(results)  # as of another checkout
    command = [sys.executable, "-c", HOLD, str(results)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"another call is making .* wait .*'{results}'"):
            hold_results(link)
        holder.kill()
    assert hold_results(link)
    assert (results / LOCK).exists()


def test_a_file_system_without_locks_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not hold_results(tmp_path / "results")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.symlink_to(tmp_path / "not mounted")
    with pytest.raises(UserError, match=r"a link to '.*not mounted', is not there and cannot be"):
        hold_results(results)
