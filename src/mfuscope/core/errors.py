"""The errors that users read, in one hierarchy.

::

    MfuscopeError                    a complete message: no traceback is shown
    ├── UserError                    one problem and its remedy, in one line
    │   ├── InvalidFileError         a file is not the artefact that its path names
    │   │   └── TraceError           a trace cannot be read
    │   └── InsufficientMemoryError  a device has too little memory; nothing was allocated
    │       └── OutOfMemoryError     memory ran out during the work: the process should end
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
        super().__init__(lines(message))  # file names may hold control characters


class UserError(MfuscopeError):
    """A problem of the input or the settings, and its remedy, in one line.

    Args:
        problem: what is wrong, e.g. ``images: folder 'scans' holds no image``.
        remedy: what to do, as an instruction, e.g. ``put a png, jpg, ... into it or set `images```.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = one_line(problem)
        self.remedy = one_line(remedy)
        super().__init__(f"{self.problem}. Remedy: {self.remedy}.")


class InvalidFileError(UserError, ValueError):
    """A file is not the record, table or trace that its path names.

    Args:
        path: the file.
        finding: what is wrong with it; the message puts the path before it.
        consequence: what making the file again involves; the last clause of the remedy.
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
    """A file is no readable trace of a run."""

    def __init__(
        self, path: Path, finding: str, consequence: str = "which measures its run again"
    ) -> None:
        super().__init__(path, finding, consequence)


class InsufficientMemoryError(UserError):
    """A device has too little free memory; nothing was allocated."""


class OutOfMemoryError(InsufficientMemoryError):
    """A device ran out of memory during the work: the process should end."""


class UserErrors(MfuscopeError):  # noqa: N818 - several errors
    """Several user errors, one line each."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, errors)))


class InconsistentRunsError(MfuscopeError):
    """Runs that must not be averaged together; the message names those to measure again."""


class WorkerError(MfuscopeError):
    """A model worker failed or died; the job's log has its output."""


class Findings:
    """Collects user errors, so that all of them are reported at once."""

    def __init__(self) -> None:
        self._errors: dict[str, UserError] = {}  # by message: none is reported twice

    def __bool__(self) -> bool:
        return bool(self._errors)

    @property
    def message(self) -> str:
        """The collected errors, one line each."""
        return "\n".join(self._errors)

    @property
    def errors(self) -> tuple[UserError, ...]:
        """The collected errors."""
        return tuple(self._errors.values())

    def add(self, error: UserError) -> None:
        """Add one error."""
        self._errors.setdefault(str(error), error)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Add the user error that ends the body, if one does."""
        try:
            yield
        except UserError as error:
            self.add(error)
        except UserErrors as several:
            for one in several.errors:
                self.add(one)

    def raise_any(self) -> None:
        """Raise the collected errors, if any.

        Raises:
            UserErrors: at least one error was collected.
        """
        if self._errors:
            raise UserErrors(tuple(self._errors.values()))
