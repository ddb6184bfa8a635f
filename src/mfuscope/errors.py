"""The errors that users are meant to read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mfuscope.printable import lines, one_line


class ToldError(Exception):
    """Told in few words; a traceback would add nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(lines(message))  # names within may hold anything


class UserError(ToldError):
    """Bad input or settings, told in one line: what is wrong, and what to do about it.

    Args:
        problem: names the thing, e.g. ``images: folder 'scans' holds no image``.
        remedy: an instruction, e.g. ``put a png, jpg, ... into it or set `images```.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = one_line(problem)
        self.remedy = one_line(remedy)
        super().__init__(f"{self.problem}. Remedy: {self.remedy}.")


class ShortOfMemoryError(UserError):
    """A device's free memory does not hold what it should; told before anything was allocated."""


class RanOutOfMemoryError(ShortOfMemoryError):
    """A device's memory ran out in the middle: the process that this happened to should end."""


class UserErrors(ToldError):  # noqa: N818 - it is several
    """Several user errors, one line each."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, errors)))


class Findings:
    """Collects user errors, so that a user learns of all of them at once."""

    def __init__(self) -> None:
        self._errors: dict[str, UserError] = {}  # by its words: each is told once

    def __bool__(self) -> bool:
        return bool(self._errors)

    def add(self, error: UserError) -> None:
        """Take an error in."""
        self._errors.setdefault(str(error), error)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Take in what the body raises; it ends there."""
        try:
            yield
        except UserError as error:
            self.add(error)
        except UserErrors as several:
            for one in several.errors:
                self.add(one)

    def tell(self) -> None:
        """Raise what was found.

        Raises:
            UserErrors: anything was.
        """
        if self._errors:
            raise UserErrors(tuple(self._errors.values()))


class WorkerError(ToldError):
    """A model worker failed or died; what it printed stands in the job's log already."""
