"""Wheels for hosts without a package registry; docs/offline.md is the manual.

PYTHONPATH=src python tools/wheelhouse.py collect ...    run by `make wheelhouse`
PYTHONPATH=src python tools/wheelhouse.py check ...      run by `make install-offline`; prints torch
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

# Registries have only sources of these pure Python packages. A wheel built here runs anywhere.
SOURCES_ONLY = ("connection-pool",)
# The glibc that the registry's wheels of every supported torch need.
TORCHS_GLIBC = 28


def collect(folder: Path, target: Target, requirements: list[Path], torch: str) -> list[Wheel]:
    """Fill a folder with every wheel that the requirements need; earlier content is replaced.

    Args:
        folder: the wheelhouse; after a failure it is unchanged.
        target: the hosts that will install the wheels.
        requirements: requirement files; the first one pins what a run needs.
        torch: a version; empty collects neither torch nor its CUDA packages.

    Raises:
        UserError: the folder holds other things than wheels, or a wheel is not available.
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
    # pip needs these to install the checkout itself in editable mode.
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
    """Sizes in MB, the largest first, and their sum."""
    sizes = {wheel.path.name: wheel.path.stat().st_size for wheel in wheels}
    largest_first = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{size / 1e6:9.2f} MB  {name}" for name, size in largest_first]
    lines.append(f"{sum(sizes.values()) / 1e6:9.2f} MB  in {len(sizes)} wheels")
    return "\n".join(lines)


def check(folder: Path, requirements: Path, torch: str | None) -> str:
    """Check that this host can install from a wheelhouse.

    Args:
        torch: a version; empty for the host's own torch; None for the torch that was collected.

    Returns:
        The version of torch to install; empty for the host's own.

    Raises:
        UserError: the wheelhouse is missing, is for other hosts, or lacks a wheel.
    """
    version = "{}.{}".format(*sys.version_info)
    command = (
        f"make wheelhouse PY={version} PLATFORM=manylinux_2_{host_glibc()}_{platform.machine()}"
    )
    wheels = _wheels(folder)
    if not wheels:
        raise UserError(
            f"there is no wheel in {folder}/",
            f"run `{command}` where there is a registry, then bring the folder here",
        )
    try:
        collected = read_collected(folder)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}/ does not say what it was collected with (cannot read {NAME}: {error})",
            f"bring the whole folder here again, or run `{command}`",
        ) from error
    torch = collected.torch if torch is None else torch
    command += "" if torch else " TORCH="
    _check_host(folder, wheels, command)
    _check_complete(folder, collected, torch, command)
    wanted = _pins(requirements) | ({"torch": torch} if torch else {})
    held = {(wheel.project, release) for wheel in wheels for release in wheel.versions}
    if lacking := [f"{name}=={release}" for name, release in wanted.items() - held]:
        raise UserError(f"{folder}/ lacks {_first(lacking)}", f"run `{command}` from this checkout")
    return torch


def _check_host(folder: Path, wheels: list[Wheel], command: str) -> None:
    """Check that the wheels are for this Python, machine and glibc."""
    version = "{}.{}".format(*sys.version_info)
    for wheel in wheels:
        if wheel.made_for not in (None, version):
            raise UserError(
                f"{folder}/ is for Python {wheel.made_for}, this is {version}",
                f"make PYTHON=python{wheel.made_for} install-offline, or run `{command}`",
            )
        if wheel.machines and platform.machine() not in wheel.machines:
            raise UserError(
                f"{folder}/ is for {', '.join(wheel.machines)}, this is {platform.machine()}",
                f"run `{command}`",
            )
    if (needed := max(wheel.glibc for wheel in wheels)) > host_glibc():
        raise UserError(
            f"{folder}/ needs glibc 2.{needed}, this host has 2.{host_glibc()}", f"run `{command}`"
        )


def _check_complete(folder: Path, collected: Collected, torch: str, command: str) -> None:
    """Check that every collected wheel is present and complete, pinned or not.

    The collected torch may be missing where the user asks for another one.
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
    remedy = f"bring the whole folder here again, or run `{command}`"
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
    """Run the command; returns the error message to exit with."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("collect", "check"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument("--torch", help="a version; empty for the host's own torch")
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
