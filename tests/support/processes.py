"""Processes that tests start, found again by a mark in their environment."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mfuscope.worker.runtime import Limits, Owner, Runtime

SUPPORT = Path(__file__).resolve().parent
WORKER = "mfuscope.worker.server"


def wait_for(happened: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)


def runtime_of(pid: int) -> Runtime:
    """The runtime of a workflow's process, in the runtime folder of these tests (conftest.py)."""
    base = Path(os.environ["MFUSCOPE_RUNTIME_DIR"])
    return Runtime(Owner.of(pid), Limits(60, run_timeout=600, start_timeout=600), base)


@dataclass(frozen=True)
class Faults:
    """A folder that causes faults in workers (worker_faults.py), and marks their processes."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that are to have faults."""
        return {"MFUSCOPE_TEST_FAULTS": str(self.folder)}

    def ask_for(self, fault: str, content: object = "") -> None:
        """Cause one of the faults that worker_faults.py lists, from now on."""
        (self.folder / fault).write_text(str(content))

    def wait_until_it_hangs(self) -> int:
        """Wait for a worker in the middle of a run; returns its process number."""
        hanging = self.folder / "hanging"
        wait_for(lambda: hanging.exists() and hanging.read_text(), "a worker in a run")
        return int(hanging.read_text())

    def heal(self) -> None:
        """Cause no more faults."""
        for path in self.folder.iterdir():
            path.unlink()

    def processes(self, what: str = "") -> dict[int, str]:
        """Running processes with the mark, and their commands, by number."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal() or int(folder.name) == os.getpid():
                continue
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has just ended, or belongs to another user
            mark = f"MFUSCOPE_TEST_FAULTS={self.folder}".encode()
            if mark in environment and what in command:
                found[int(folder.name)] = command
        return found

    def end_all(self) -> None:
        """End the processes that a failed test has left."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
