"""The record of a wheelhouse: what it was collected for, and every wheel with its size.

The record lies beside the wheels. `make install-offline` finds lost and truncated wheels by it.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from wheels import Target, Wheel

NAME = "collected.json"


@dataclass(frozen=True)
class Collected:
    """The arguments and the result of `make wheelhouse`.

    Attributes:
        python: e.g. ``3.12``.
        platform: e.g. ``manylinux_2_28_x86_64``.
        torch: its version; empty if the hosts have their own.
        requirements: names of the requirement files.
        wheels: file name -> size in bytes.
    """

    python: str
    platform: str
    torch: str
    requirements: list[str]
    wheels: dict[str, int]


def write_collected(
    folder: Path, target: Target, requirements: Iterable[Path], wheels: Iterable[Wheel]
) -> None:
    """Write the record into a folder of collected wheels."""
    held = list(wheels)
    made = Collected(
        python=".".join(map(str, target.python)),
        platform=target.platforms[0],
        torch=next((wheel.version for wheel in held if wheel.project == "torch"), ""),
        requirements=[str(path) for path in requirements],
        wheels={wheel.path.name: wheel.path.stat().st_size for wheel in held},
    )
    (folder / NAME).write_text(json.dumps(asdict(made), indent=1) + "\n", encoding="utf-8")


def read_collected(folder: Path) -> Collected:
    """Read the record of a wheelhouse.

    Raises:
        OSError, TypeError, ValueError: the record is missing or invalid.
    """
    return Collected(**json.loads((folder / NAME).read_text(encoding="utf-8")))
