"""Processes that tests start, found again by a mark in their environment."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
WORKER = "mfuscope.worker.server"


def wait_for(happened: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Faults:
    """A folder that tells workers what to do wrong (faults/sitecustomize.py), and marks them."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that are to have faults."""
        return {"MFUSCOPE_TEST_FAULTS": str(self.folder)}

    def ask_for(self, fault: str, content: object = "") -> None:
        """One of the faults that faults/sitecustomize.py lists, from now on."""
        (self.folder / fault).write_text(str(content))

    def wait_until_it_hangs(self) -> int:
        """Wait for a worker in the middle of a run; returns its process number."""
        hanging = self.folder / "hanging"
        wait_for(lambda: hanging.exists() and hanging.read_text(), "a worker at work")
        return int(hanging.read_text())

    def heal(self) -> None:
        """No more faults."""
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
                continue  # it has just ended, or is not ours
            mark = f"MFUSCOPE_TEST_FAULTS={self.folder}".encode()
            if mark in environment and what in command:
                found[int(folder.name)] = command
        return found

    def end_all(self) -> None:
        """Whatever a failed test has left."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
