"""What a wheelhouse was collected with: a file beside its wheels, by which a loss on the way shows.

Without it, a folder that lost its largest wheel would look like one that was to have none.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from wheels import Target, Wheel

NAME = "collected.json"


@dataclass(frozen=True)
class Collected:
    """What `make wheelhouse` was asked for, and what it got.

    Attributes:
        python: e.g. ``3.12``.
        platform: e.g. ``manylinux_2_28_x86_64``.
        torch: its version; empty: the hosts have their own.
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
    """Leave that file in a folder that has just been filled."""
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
    """What that file says.

    Raises:
        OSError, TypeError, ValueError: it is gone or damaged.
    """
    return Collected(**json.loads((folder / NAME).read_text(encoding="utf-8")))
