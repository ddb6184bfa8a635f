"""Wheels for hosts without a package registry: see docs/offline.md.

PYTHONPATH=src python tools/wheelhouse.py collect ...    `make wheelhouse`
PYTHONPATH=src python tools/wheelhouse.py check ...      `make install-offline`: which torch?
"""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from collected import NAME, Collected, read_collected, write_collected
from wheels import Target, Wheel, host_glibc, pins, read_wheel, target_of

from mfuscope.core.errors import UserError

# Registries have these as sources only. They are pure Python: a wheel made here runs anywhere.
SOURCES_ONLY = ("connection-pool",)
# What the registry's wheels of every torch that mfuscope runs with ask for.
TORCHS_GLIBC = 28


def collect(folder: Path, target: Target, requirements: list[Path], torch: str) -> list[Wheel]:
    """Fill a folder with every wheel that the requirements need; what it held before is gone.

    Args:
        folder: where to; it stays as it was if anything fails.
        target: the hosts that will install from it.
        requirements: requirement files; the first one pins what a run needs.
        torch: a version, or empty: no torch, and none of its CUDA packages.

    Raises:
        UserError: what is in the folder is no wheelhouse, or a wheel is not to be had.
    """
    if torch and target.glibc < TORCHS_GLIBC:
        raise UserError(
            f"torch needs glibc 2.{TORCHS_GLIBC}, and wheels for glibc 2.{target.glibc} "
            "are asked for",
            f"PLATFORM=manylinux_2_{TORCHS_GLIBC}_{target.machine} where the nodes have that "
            "(`ldd --version`), else TORCH= and a torch of their own",
        )
    if not _is_wheelhouse(folder):
        raise UserError(f"{folder} holds other things than wheels", "name an empty WHEELHOUSE")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _fill(part, target, requirements, torch)
        write_collected(part, target, requirements, _wheels(part))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _wheels(folder)


def _fill(part: Path, target: Target, requirements: list[Path], torch: str) -> None:
    pinned = {name: version for path in requirements for name, version in _pins(path).items()}
    sources = [f"{name}=={pinned[name]}" for name in SOURCES_ONLY if name in pinned]
    with tempfile.TemporaryDirectory() as environment:
        # A host's own Python may come without pip.
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [f"{environment}/bin/python", "-m", "pip", "-qq", "--disable-pip-version-check"]
        if sources:
            _call([*pip, "wheel", "--no-deps", "--wheel-dir", str(part), *sources], target)
        if compiled := [wheel for wheel in _wheels(part) if not wheel.is_pure]:
            raise UserError(
                f"{compiled[0].project} is not pure Python: its wheel runs on this host alone",
                "take it out of SOURCES_ONLY in tools/wheelhouse.py",
            )
        _call([*pip, *_download(part, target, requirements, torch)], target)


def _download(part: Path, target: Target, requirements: list[Path], torch: str) -> list[str]:
    command = ["download", "--dest", str(part), "--find-links", str(part), "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", ".".join(map(str, target.python))]
    for tag in target.platforms:
        command += ["--platform", tag]
    for path in requirements:
        command += ["--requirement", str(path)]
    # To install the checkout itself, editable, pip builds with these.
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    command += project["build-system"]["requires"]
    return [*command, f"torch=={torch}"] if torch else command


def _call(command: list[str], target: Target) -> None:
    if subprocess.run(command, check=False).returncode:
        raise UserError(
            f"not every wheel for {target} could be had (pip says above which)",
            "name another PY or PLATFORM; a pure Python package without wheels belongs into "
            "SOURCES_ONLY in tools/wheelhouse.py",
        )


def listing(wheels: list[Wheel]) -> str:
    """Sizes, the largest first, and their sum."""
    sizes = {wheel.path.name: wheel.path.stat().st_size for wheel in wheels}
    largest_first = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{size / 1e6:9.2f} MB  {name}" for name, size in largest_first]
    lines.append(f"{sum(sizes.values()) / 1e6:9.2f} MB  in {len(sizes)} wheels")
    return "\n".join(lines)


def check(folder: Path, requirements: Path, torch: str | None) -> str:
    """Whether this host can install from a wheelhouse.

    Args:
        torch: a version; empty: the host's own; None: what the wheelhouse was collected with.

    Returns:
        The version of torch to install, or empty: the host's own.

    Raises:
        UserError: it is missing, for other hosts, or lacks a wheel.
    """
    version = "{}.{}".format(*sys.version_info)
    anew = f"make wheelhouse PY={version} PLATFORM=manylinux_2_{host_glibc()}_{platform.machine()}"
    wheels = _wheels(folder)
    if not wheels:
        raise UserError(
            f"there is no wheel in {folder}/",
            f"`{anew}` where there is a registry, then bring the folder here",
        )
    try:
        collected = read_collected(folder)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}/ does not say what it was collected with (cannot read {NAME}: {error})",
            f"bring the whole folder here again, or `{anew}` anew",
        ) from error
    torch = collected.torch if torch is None else torch
    anew += "" if torch else " TORCH="
    _check_host(folder, wheels, anew)
    _check_complete(folder, collected, torch, anew)
    wanted = _pins(requirements) | ({"torch": torch} if torch else {})
    held = {(wheel.project, release) for wheel in wheels for release in wheel.versions}
    if lacking := [f"{name}=={release}" for name, release in wanted.items() - held]:
        raise UserError(f"{folder}/ lacks {_first(lacking)}", f"`{anew}` from this checkout")
    return torch


def _check_host(folder: Path, wheels: list[Wheel], anew: str) -> None:
    """That wheels are for this Python, machine and glibc."""
    version = "{}.{}".format(*sys.version_info)
    for wheel in wheels:
        if wheel.made_for not in (None, version):
            raise UserError(
                f"{folder}/ is for Python {wheel.made_for}, this is {version}",
                f"make PYTHON=python{wheel.made_for} install-offline, or `{anew}` anew",
            )
        if wheel.machines and platform.machine() not in wheel.machines:
            raise UserError(
                f"{folder}/ is for {', '.join(wheel.machines)}, this is {platform.machine()}",
                f"`{anew}` anew",
            )
    if (needed := max(wheel.glibc for wheel in wheels)) > host_glibc():
        raise UserError(
            f"{folder}/ needs glibc 2.{needed}, this host has 2.{host_glibc()}", f"`{anew}` anew"
        )


def _check_complete(folder: Path, collected: Collected, torch: str, anew: str) -> None:
    """That what was collected is there, whole: also what no file pins, such as CUDA and setuptools.

    Its torch may be lacking where another one is asked for.
    """
    lost, cut = [], []
    for name, size in collected.wheels.items():
        wheel = read_wheel(folder / name)
        if wheel.project == "torch" and torch not in wheel.versions:
            continue
        if not wheel.path.is_file():
            lost.append(f"{wheel.project}=={wheel.version}")
        elif wheel.path.stat().st_size != size:
            cut.append(f"{name} ({wheel.path.stat().st_size} of {size} bytes)")
    remedy = f"bring the whole folder here again, or `{anew}` anew"
    if lost:
        raise UserError(f"{folder}/ lacks {_first(lost)}", remedy)
    if cut:
        raise UserError(f"{folder}/ is damaged: {_first(cut)}", remedy)


def _first(names: list[str]) -> str:
    return min(names) + (f" and {len(names) - 1} more" if names[1:] else "")


def _wheels(folder: Path) -> list[Wheel]:
    return [read_wheel(path) for path in sorted(folder.glob("*.whl"))]


def _pins(requirements: Path) -> dict[str, str]:
    try:
        return pins(requirements.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        raise UserError(f"there is no {requirements}", "name files that exist as EXTRA") from None


def _is_wheelhouse(folder: Path) -> bool:
    return not folder.exists() or all(
        path.suffix == ".whl" or path.name == NAME for path in folder.iterdir()
    )


def main() -> str | None:
    """Do what the command line asks for; returns an error to end with."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("collect", "check"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument("--torch", help="a version, or empty: the host's own")
        command.add_argument("--requirements", type=Path, nargs="+", required=True)
        if name == "collect":
            command.add_argument("--python", default="")
            command.add_argument("--platform", default="")
    given = parser.parse_args()
    try:
        if given.command == "check":
            print(check(given.folder, given.requirements[0], given.torch))
        else:
            target = target_of(given.python, given.platform)
            print(f"collecting wheels for {target} into {given.folder}/", flush=True)
            print(listing(collect(given.folder, target, given.requirements, given.torch or "")))
    except UserError as error:
        return f"mfuscope: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
