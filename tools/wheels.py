"""File names of wheels: the Python, machine and glibc that a wheel is built for.

Names and tags: https://packaging.python.org/en/latest/specifications/ (binary distribution format,
platform compatibility tags). This module runs before anything is installed and imports the standard
library only.
"""

import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mfuscope.core.errors import UserError

# Older names of glibc versions. No wheel that mfuscope needs asks for less than 2.5.
_ALIASES = {"manylinux2014": 17, "manylinux2010": 12, "manylinux1": 5}
_LEAST_GLIBC = 5
_PLATFORM = re.compile(r"manylinux_2_(\d+)_(\w+)")
_ALIAS = re.compile(rf"({'|'.join(_ALIASES)})_(\w+)")
# The machines that tags know, and other names of two of them.
_MACHINES = ("x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64", "loongarch64")
_SPELLINGS = {"amd64": "x86_64", "x64": "x86_64", "x86": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Target:
    """The hosts that will install the wheels.

    Attributes:
        python: e.g. (3, 12) for CPython 3.12.
        machine: as in tags, e.g. ``x86_64``.
        glibc: the least minor version on the hosts: 28 for glibc 2.28.
    """

    python: tuple[int, int]
    machine: str
    glibc: int

    @property
    def platforms(self) -> list[str]:
        """Every platform tag that these hosts accept, newest glibc first (pip expands none)."""
        tags = []
        for glibc in range(self.glibc, _LEAST_GLIBC - 1, -1):
            tags.append(f"manylinux_2_{glibc}_{self.machine}")
            tags += [f"{name}_{self.machine}" for name, own in _ALIASES.items() if own == glibc]
        return [*tags, f"linux_{self.machine}"]

    def __str__(self) -> str:
        version = ".".join(map(str, self.python))
        return f"Python {version} on {self.machine} with glibc 2.{self.glibc} or newer"


def target_of(python: str, platform_tag: str) -> Target:
    """The target that the user names; an empty text stands for this host's value.

    Args:
        python: e.g. ``3.12``.
        platform_tag: e.g. ``manylinux_2_28_x86_64``, or by an older name ``manylinux2014_x86_64``.

    Raises:
        UserError: a value names no Python or no platform.
    """
    version = re.fullmatch(r"3\.(\d+)", python or "{}.{}".format(*sys.version_info))
    if not version:
        raise UserError(f"PY={python} is no version of Python", "give it as PY=3.12")
    tag = platform_tag or f"manylinux_2_{host_glibc()}_{platform.machine()}"
    if found := _PLATFORM.fullmatch(tag):
        glibc = int(found[1])
    elif found := _ALIAS.fullmatch(tag):
        glibc = _ALIASES[found[1]]
    else:
        raise UserError(
            f"PLATFORM={tag} does not name a glibc and a machine",
            "give it as PLATFORM=manylinux_2_28_x86_64 (glibc 2.28 or newer; "
            "see `ldd --version` and `uname -m` on the nodes)",
        )
    machine = found[2]
    if machine not in _MACHINES:
        likely = _SPELLINGS.get(machine, "x86_64")
        raise UserError(
            f"PLATFORM={tag} names no machine that wheels are made for",
            f"give it as PLATFORM={tag.removesuffix(machine)}{likely} "
            "(see `uname -m` on the nodes)",
        )
    return Target((3, int(version[1])), machine, glibc)


def host_glibc() -> int:
    """The minor version of this host's glibc.

    Raises:
        UserError: the host has another C library.
    """
    name, version = platform.libc_ver()
    if name != "glibc":
        raise UserError(
            "this host has no glibc, which torch needs",
            "take a host that has; to collect for others, PLATFORM=manylinux_2_28_x86_64",
        )
    return int(version.split(".")[1])


@dataclass(frozen=True)
class Wheel:
    """The parts of a wheel's file name."""

    path: Path
    project: str
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    @property
    def versions(self) -> tuple[str, str]:
        """The version with and without its local part, such as ``+cpu``."""
        return self.version, self.version.partition("+")[0]

    @property
    def is_pure(self) -> bool:
        """Whether it runs on every machine."""
        return self.platforms == ("any",)

    @property
    def made_for(self) -> str | None:
        """The only Python that accepts it, as ``3.12``; None where several do."""
        exact = [tag for tag in self.pythons if re.fullmatch(r"cp3\d+", tag) and tag in self.abis]
        return f"3.{exact[0].removeprefix('cp3')}" if len(exact) == 1 else None

    @property
    def machines(self) -> set[str]:
        """The machines that it is built for, e.g. ``x86_64``; none for a pure wheel."""
        return {re.sub(r"^(manylinux(_\d+_\d+|\d+)|linux)_", "", tag) for tag in self.platforms} - {
            "any"
        }

    @property
    def glibc(self) -> int:
        """The minor version of the oldest glibc that runs it; the least there is, if it is pure."""
        asked = []
        for tag in self.platforms:
            if found := _PLATFORM.fullmatch(tag):
                asked.append(int(found[1]))
            else:
                asked.append(_ALIASES.get(tag.partition("_")[0], _LEAST_GLIBC))
        return min(asked)


def read_wheel(path: Path) -> Wheel:
    """What a wheel's name says."""
    project, version, *_, pythons, abis, platforms = path.stem.split("-")
    return Wheel(
        path,
        project=normal(project),
        version=version,
        pythons=tuple(pythons.split(".")),
        abis=tuple(abis.split(".")),
        platforms=tuple(platforms.split(".")),
    )


def normal(project: str) -> str:
    """A project's name, written as all its other spellings are."""
    return re.sub(r"[-_.]+", "-", project).lower()


def pins(lines: Iterable[str]) -> dict[str, str]:
    """Normal name -> version, of the lines ``name==version`` of a requirements file."""
    found = (re.match(r"([\w.-]+)==([^\s;#]+)\s*(#|$)", line) for line in lines)
    return {normal(pin[1]): pin[2] for pin in found if pin}
