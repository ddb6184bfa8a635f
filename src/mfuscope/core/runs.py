"""The key of a run, which every table, path and message names it by."""

from typing import NamedTuple


class RunKey(NamedTuple):
    """Which run."""

    variant: str
    image: str
    repeat: int
