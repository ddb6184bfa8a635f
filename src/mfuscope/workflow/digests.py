"""Digests of this package's own code: what code derives is derived again when the code changes."""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

_PACKAGE: Final = "mfuscope"
_ROOT: Final = Path(__file__).parents[1]


def code_digest(entry: Path | str) -> str:
    """Digest of a script or module and of everything that it imports from this package.

    Args:
        entry: a script, or the dotted name of a module, e.g. ``mfuscope.measure.calibration``.

    Raises:
        FileNotFoundError: there is no such script or module.
    """
    start = entry if isinstance(entry, Path) else _file(entry)
    if start is None or not start.is_file():
        raise FileNotFoundError(entry)
    reached: dict[Path, None] = {start: None}
    queue = [start]
    while queue:
        new = [path for path in _imports(queue.pop()) if path not in reached]
        reached |= dict.fromkeys(new)
        queue += new
    digest = hashlib.sha256()
    for path in sorted(reached, key=_name):
        digest.update(_name(path).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _name(path: Path) -> str:
    """A file's name wherever the checkout lies."""
    return path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Files of this package that a file imports, within functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    files = (_file(name) for name in names)
    return frozenset(file for file in files if file is not None)


def _file(module: str) -> Path | None:
    """The file of a module of this package, None for anything else."""
    package, *inner = module.split(".")
    if package != _PACKAGE:
        return None
    base = _ROOT.joinpath(*inner)
    found = (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())
    return next(found, None)
