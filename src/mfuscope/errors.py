"""The one error that users are meant to read."""


class UserError(Exception):
    """Bad input or settings, told in one line: what is wrong, and what to do about it.

    Args:
        problem: names the thing, e.g. ``images: folder 'scans' holds no image``.
        remedy: an instruction, e.g. ``put a png, jpg, ... into it or set `images```.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. Remedy: {remedy}.")
