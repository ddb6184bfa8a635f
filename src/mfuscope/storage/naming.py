"""Records that lie under another one's name: they would count twice, or for the wrong page.

Records of runs and calibrations name themselves; tables, activities and traces do not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from mfuscope.core.errors import MfuscopeError
from mfuscope.core.text import one_line
from mfuscope.provenance.remeasure import count, removal_command
from mfuscope.storage.artefacts import read_json

_TOLD: Final = 10  # records that are named
_SHOWN: Final = 100  # characters: a record may hold anything


@dataclass(frozen=True, slots=True)
class RunName:
    """Which run a record tells of."""

    variant: str
    image: str
    repeat: int

    @classmethod
    def of(cls, path: Path) -> "RunName":
        """Which run should lie there: results/VARIANT/runs/IMAGE/REPEAT.json."""
        return cls(path.parts[-4], path.parts[-2], int(path.stem))

    def __str__(self) -> str:
        return f"the run {self.variant}/{self.image}/{self.repeat}"


@dataclass(frozen=True, slots=True)
class CalibrationName:
    """Which calibration a record tells of."""

    variant: str
    resolution: str

    @classmethod
    def of(cls, path: Path) -> "CalibrationName":
        """Which calibration should lie there: results/VARIANT/calibration/RESOLUTION.json."""
        return cls(path.parts[-3], path.stem)

    def __str__(self) -> str:
        return f"the calibration {self.variant} at {self.resolution}"


def check_names(runs: Iterable[Path], calibrations: Iterable[Path], listing: Path) -> None:
    """Check that every record tells of what its path says.

    Args:
        listing: lists those to make again, where they are many.

    Raises:
        MfuscopeError: names those that do not, and the command that has them made again.
    """
    found = dict(chain(_misnamed(runs, RunName), _misnamed(calibrations, CalibrationName)))
    if found:
        lines = [
            f"{path} is the record of {one_line(str(of))[:_SHOWN]}" for path, of in found.items()
        ]
        more = [f"... and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
        remedy = (
            "records under another one's name would count for what they are not. Remedy: to make "
            f"{count(len(found), 'record')} again, `{removal_command(list(found), listing)}` and "
            "run the same command again."
        )
        raise MfuscopeError("\n".join([*lines[:_TOLD], *more, remedy]))


def _misnamed(
    paths: Iterable[Path], kind: type[RunName] | type[CalibrationName]
) -> Iterator[tuple[Path, RunName | CalibrationName]]:
    for path in paths:
        told = read_json(path, kind)
        if told != kind.of(path):
            yield path, told
