"""Who owns the workers of a workflow, how long they may take, and where sockets and locks lie.

One private folder per user holds everything, with paths short enough for socket addresses::

    BASE/mfuscope-UID/locks/DEVICE          one lock per device
    BASE/mfuscope-UID/OWNER/DEVICE-MODEL/   a worker's socket
    BASE/mfuscope-UID/OWNER/job-PID/        a job's trace on its way to the results
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
_LOCKS = "locks"
_SETTING = "worker.runtime_dir"
_ELSEWHERE = f"set `{_SETTING}` (or MFUSCOPE_RUNTIME_DIR) to another folder"
# The address of a socket has at most 107 bytes. Below the user's folder, the path of a socket
# takes /OWNER (7 + 1 + 12 digits at the most), /DEVICE-MODEL (12 + 1 + 12) and /socket.
_FOLDER_BYTES = 107 - len("/4194304-999999999999/") - 25 - len(f"/{SOCKET}")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that owns workers.

    Attributes:
        pid: its number.
        started: clock ticks since boot; a later process may get the same number, at another time.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Owner":
        """The running process of a number.

        Raises:
            ProcessLookupError: there is none.
        """
        fields = _status(pid)
        if fields[0] in "ZX":  # it ended, and its parent has not waited for it yet
            raise ProcessLookupError(pid)
        return cls(pid, int(fields[19]))

    @classmethod
    def above(cls, pid: int) -> "Iterator[Owner]":
        """The parent of a process, its parent, and so on."""
        with suppress(ProcessLookupError):
            while pid > 1:
                pid = int(_status(pid)[1])
                yield cls.of(pid)

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


def adopt(owner: Owner) -> Owner:
    """The owner of the workers that this process's jobs start.

    A job on a cluster node cannot use workers of the workflow, which runs on another machine. The
    jobs of one allocation share workers when the process above them has adopted them.

    Returns:
        The given owner if it is this process or an ancestor of it, else this process.
    """
    own = Owner.of(os.getpid())
    return owner if owner in (own, *Owner.above(own.pid)) else own


@dataclass(frozen=True, slots=True)
class Limits:
    """How long workers may live and take, in seconds.

    Attributes:
        keep_alive: an idle worker ends after this time; 0 gives every run a fresh process.
        run_timeout: a run that takes longer fails, and its worker is ended.
        start_timeout: a worker whose model is not ready after this time is ended.
    """

    keep_alive: float
    run_timeout: float
    start_timeout: float


@dataclass(frozen=True, slots=True)
class Runtime:
    """What every job of a workflow needs to find or start a worker.

    Attributes:
        base: holds the user's private folder. All workflows that share a device need the same
            one, since the locks of devices lie there.
    """

    owner: Owner
    limits: Limits
    base: Path = Path("/tmp")  # noqa: S108 - `folder` checks what lies there

    @property
    def folder(self) -> Path:
        """The user's private folder, made if it is not there.

        Raises:
            UserError: it cannot be made, its path is too long, or others can enter it.
        """
        folder = self.base.absolute() / f"mfuscope-{os.getuid()}"
        if len(os.fsencode(folder)) > _FOLDER_BYTES:
            raise UserError(
                f"{_SETTING}: the path {str(folder)!r} has more than {_FOLDER_BYTES} bytes, too "
                "many for the addresses of sockets below it",
                _ELSEWHERE,
            )
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            status = folder.lstat()
        except OSError as error:
            raise UserError(
                f"{_SETTING}: {str(folder)!r} cannot be made ({error.strerror})", _ELSEWHERE
            ) from error
        private = status.st_uid == os.getuid() and not status.st_mode & 0o077
        if not (stat.S_ISDIR(status.st_mode) and private):
            raise UserError(
                f"{_SETTING}: {str(folder)!r} is not a folder that only you can enter",
                f"remove it, or {_ELSEWHERE}",
            )
        return folder

    @property
    def owner_folder(self) -> Path:
        """Where the owner's workers and jobs live; it need not exist."""
        return self.folder / str(self.owner)

    def lock_file(self, device: str) -> Path:
        """The file whose lock is the lease of a device."""
        folder = self.folder / _LOCKS
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / device.replace("/", "_")

    @contextmanager
    def job_folder(self) -> Iterator[Path]:
        """A folder of this job's own; a worker's folder may go before the job has ended."""
        folder = self.owner_folder / f"job-{os.getpid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def connect(folder: Path) -> socket.socket | None:
    """A connection to the worker of a folder, None if none listens there."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / SOCKET))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


def remove_worker_folder(folder: Path, owner: Owner) -> None:
    """Remove a worker's folder, and everything of its owner if that has ended."""
    shutil.rmtree(folder, ignore_errors=True)
    if not owner.alive:
        shutil.rmtree(folder.parent, ignore_errors=True)


def remove_abandoned(runtime: Runtime) -> None:
    """Remove what killed workflows and workers left behind."""
    for folder in runtime.folder.iterdir():
        pid, _, started = folder.name.partition("-")
        if not (pid.isdecimal() and started.isdecimal()):
            continue
        with suppress(FileNotFoundError):  # another process may be removing it
            if not Owner.parse(folder.name).alive and not any(map(_listens, folder.iterdir())):
                shutil.rmtree(folder, ignore_errors=True)


def _status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name, the process's state first.

    Raises:
        ProcessLookupError: there is no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    # The name is in brackets and may hold anything.
    return text.rpartition(")")[2].split()


def _listens(folder: Path) -> bool:
    connection = connect(folder)
    if connection is None:
        return False
    connection.close()
    return True
