"""The errors that users are meant to read."""


class ToldError(Exception):
    """Told in one line; a traceback would add nothing."""


class UserError(ToldError):
    """Bad input or settings, told in one line: what is wrong, and what to do about it.

    Args:
        problem: names the thing, e.g. ``images: folder 'scans' holds no image``.
        remedy: an instruction, e.g. ``put a png, jpg, ... into it or set `images```.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. Remedy: {remedy}.")


class WorkerError(ToldError):
    """A model worker failed or died; what it printed stands in the job's log already."""
