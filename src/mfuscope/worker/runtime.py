"""Whose a worker is, and where its socket and the device locks lie.

Everything is in one private folder per user, with paths short enough for socket addresses::

    /tmp/mfuscope-UID/locks/DEVICE          one lock per device
    /tmp/mfuscope-UID/OWNER/DEVICE-MODEL/   a worker's socket
    /tmp/mfuscope-UID/OWNER/job-PID/        a job's trace on its way to the results
"""

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mfuscope.core.errors import UserError

SOCKET = "socket"
_BASE = Path("/tmp")  # noqa: S108 - what lies there is checked
_LOCKS = "locks"
_OWNER_VARIABLE = "MFUSCOPE_WORKFLOW"
_KEEP_ALIVE_VARIABLE = "MFUSCOPE_KEEP_ALIVE"
_RUN_TIMEOUT_VARIABLE = "MFUSCOPE_RUN_TIMEOUT"
_START_TIMEOUT_VARIABLE = "MFUSCOPE_START_TIMEOUT"


@dataclass(frozen=True, slots=True)
class Owner:
    """A workflow's process. Its start (clock ticks since boot) tells it from a later namesake."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Owner":
        """The running process of a number.

        Raises:
            ProcessLookupError: there is none.
        """
        try:
            status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            raise ProcessLookupError(pid) from error
        # The second field is the command's name, in brackets, and may hold anything.
        fields = status.rpartition(")")[2].split()
        if fields[0] in "ZX":  # ended, and its parent has not looked yet
            raise ProcessLookupError(pid)
        return cls(pid, int(fields[19]))

    @classmethod
    def above(cls, pid: int) -> "Iterator[Owner]":
        """The parent of a process, its parent, and so on."""
        while pid > 1:
            try:
                status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
                pid = int(status.rpartition(")")[2].split()[1])
                yield cls.of(pid)
            except (FileNotFoundError, ProcessLookupError):
                return

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """From ``str(owner)``."""
        pid, _, started = text.partition("-")
        return cls(int(pid), int(started))

    def __str__(self) -> str:
        return f"{self.pid}-{self.started}"

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        try:
            return Owner.of(self.pid) == self
        except ProcessLookupError:
            return False

    @property
    def folder(self) -> Path:
        """Where the owner's workers live; it need not exist."""
        return runtime_folder() / str(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long workers may live and take, in seconds.

    Attributes:
        keep_alive: after which an idle worker ends; 0 gives every run a fresh process.
        run_timeout: after which a run is given up and its worker ended.
        start_timeout: after which a worker is ended whose model is not ready.
    """

    keep_alive: float
    run_timeout: float
    start_timeout: float


def adopt_jobs(limits: Limits, *, share: bool) -> None:
    """Make this process the owner of the workers that its jobs will start.

    Jobs inherit the environment. It is no setting of a measurement, so it is no parameter of jobs.

    Args:
        share: leave them to the owner above this process, if there is one: an allocation of a
            cluster runs each job of its batch in a process like this.
    """
    owner = Owner.of(os.getpid())
    if share:
        inherited = os.environ.get(_OWNER_VARIABLE)
        owner = next((o for o in Owner.above(owner.pid) if str(o) == inherited), owner)
    os.environ[_OWNER_VARIABLE] = str(owner)
    os.environ[_KEEP_ALIVE_VARIABLE] = str(limits.keep_alive)
    os.environ[_RUN_TIMEOUT_VARIABLE] = str(limits.run_timeout)
    os.environ[_START_TIMEOUT_VARIABLE] = str(limits.start_timeout)


def job_owner() -> Owner:
    """The workflow that this job belongs to."""
    return Owner.parse(os.environ[_OWNER_VARIABLE])


def job_limits() -> Limits:
    """The limits of that workflow."""
    return Limits(
        keep_alive=float(os.environ[_KEEP_ALIVE_VARIABLE]),
        run_timeout=float(os.environ[_RUN_TIMEOUT_VARIABLE]),
        start_timeout=float(os.environ[_START_TIMEOUT_VARIABLE]),
    )


@contextmanager
def job_folder() -> Iterator[Path]:
    """A folder of this job's own, for as long as it needs one; not the worker's, which may end."""
    folder = job_owner().folder / f"job-{os.getpid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_worker_folder(folder: Path, owner: Owner) -> None:
    """Remove a worker's folder, and its owner's if nobody else lives there or the owner is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    if not owner.alive:
        shutil.rmtree(owner.folder, ignore_errors=True)
    with suppress(OSError):  # others live there
        owner.folder.rmdir()


def runtime_folder() -> Path:
    """The user's private folder, made if it is not there.

    Always below /tmp: two workflows of a user must find the same locks, whatever TMPDIR says, and
    the address of a socket has room for about a hundred characters.

    Raises:
        UserError: the folder is not the user's own, or open to others.
    """
    folder = _BASE / f"mfuscope-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    private = status.st_uid == os.getuid() and not status.st_mode & 0o077
    if not (stat.S_ISDIR(status.st_mode) and private):
        raise UserError(
            f"{folder} is not a folder that only you can enter",
            "remove it, or have its owner remove it",
        )
    return folder


def lock_file(device: str) -> Path:
    """The file whose lock is the lease of a device."""
    folder = runtime_folder() / _LOCKS
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / device.replace("/", "_")


def connect(folder: Path) -> socket.socket | None:
    """A connection to the worker of a folder, None if nobody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / SOCKET))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


def remove_abandoned() -> None:
    """Remove what killed workflows and workers left behind."""
    for folder in _owner_folders():
        with suppress(FileNotFoundError):  # it goes while we look
            if not Owner.parse(folder.name).alive and not any(map(_listens, folder.iterdir())):
                shutil.rmtree(folder, ignore_errors=True)


def _owner_folders() -> Iterator[Path]:
    for folder in runtime_folder().iterdir():
        pid, _, started = folder.name.partition("-")
        if pid.isdecimal() and started.isdecimal():
            yield folder


def _listens(folder: Path) -> bool:
    connection = connect(folder)
    if connection is None:
        return False
    connection.close()
    return True
