"""The errors that users read, in one hierarchy.

::

    MfuscopeError                    a few lines that say it all: no traceback is shown
    ├── UserError                    one problem and its remedy, in one line
    │   ├── InvalidFileError         a file is not the artefact that its path promises
    │   │   └── TraceError           a trace cannot be read
    │   └── InsufficientMemoryError  a device's memory is too small; nothing was allocated yet
    │       └── OutOfMemoryError     memory ran out half-way: the process should end
    ├── UserErrors                   several user errors, one line each
    ├── InconsistentRunsError        runs that must not be averaged together
    └── WorkerError                  a model worker failed or died
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mfuscope.core.text import lines, one_line


class MfuscopeError(Exception):
    """An error whose message is complete; a traceback would add nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(lines(message))  # names within may hold anything


class UserError(MfuscopeError):
    """Bad input or settings in one line: what is wrong, and what to do about it.

    Args:
        problem: names the thing, e.g. ``images: folder 'scans' holds no image``.
        remedy: an instruction, e.g. ``put a png, jpg, ... into it or set `images```.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = one_line(problem)
        self.remedy = one_line(remedy)
        super().__init__(f"{self.problem}. Remedy: {self.remedy}.")


class InvalidFileError(UserError, ValueError):
    """A file is not the record, table or trace that its path promises.

    Args:
        path: the file.
        finding: what is wrong with it; the sentence begins with the path.
        consequence: what making it again involves, in words that end the remedy.
    """

    def __init__(self, path: Path, finding: str, consequence: str = "") -> None:
        self.path, self.finding, self.consequence = path, finding, consequence
        rest = f", {consequence}" if consequence else ""
        super().__init__(
            f"{path} {finding}",
            f"`rm {shlex.quote(str(path))}` and run the same command again{rest}",
        )

    def __reduce__(self) -> tuple[type["InvalidFileError"], tuple[Path, str, str]]:
        return type(self), (self.path, self.finding, self.consequence)


class TraceError(InvalidFileError):
    """The file is no usable trace of a run."""

    def __init__(
        self, path: Path, finding: str, consequence: str = "which measures its run again"
    ) -> None:
        super().__init__(path, finding, consequence)


class InsufficientMemoryError(UserError):
    """A device's free memory is too small; nothing was allocated yet."""


class OutOfMemoryError(InsufficientMemoryError):
    """A device's memory ran out half-way: the process that this happened to should end."""


class UserErrors(MfuscopeError):  # noqa: N818 - it is several
    """Several user errors, one line each."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, errors)))


class InconsistentRunsError(MfuscopeError):
    """Runs that must not be averaged together, and what to measure again."""


class WorkerError(MfuscopeError):
    """A model worker failed or died; its own output is in the job's log already."""


class Findings:
    """Collects user errors, so that a user learns of all of them at once."""

    def __init__(self) -> None:
        self._errors: dict[str, UserError] = {}  # by message: each is reported once

    def __bool__(self) -> bool:
        return bool(self._errors)

    @property
    def message(self) -> str:
        """What was found, one line each."""
        return "\n".join(self._errors)

    def add(self, error: UserError) -> None:
        """Add one error."""
        self._errors.setdefault(str(error), error)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Add what the body raises; the body ends there."""
        try:
            yield
        except UserError as error:
            self.add(error)
        except UserErrors as several:
            for one in several.errors:
                self.add(one)

    def raise_any(self) -> None:
        """Raise what was found.

        Raises:
            UserErrors: there was any.
        """
        if self._errors:
            raise UserErrors(tuple(self._errors.values()))
