"""Packages that a model needs beside transformers, as its errors name them."""

import re

from mfuscope.core.errors import UserError
from mfuscope.core.text import reason

# How transformers names a package that is missing.
_MISSING = (
    re.compile(r"requires the (?P<name>\S+) library but it was not found"),
    re.compile(r"[Pp]ackage `(?P<name>[\w.-]+)`"),
    re.compile(r"[Nn]o module named '(?P<name>[\w-]+)"),
    re.compile(r"pip install (?:-U )?(?P<name>[\w-]+)"),
    re.compile(r"Missing optional dependencies: (?P<name>[\w-]+)"),
)
# Where a package's name differs from the one that pip knows.
_NAMES = {"pil": "pillow", "cv2": "opencv-python"}


def lacks_package(error: Exception) -> bool:
    """Whether an error is about a package that is missing; not all of those are ImportErrors."""
    return isinstance(error, ImportError) or "Missing optional dependencies" in str(error)


def missing_package(what: str, error: Exception) -> UserError:
    """What a model or a part of it lacks; some say it only when they are first used.

    Args:
        what: lacks it, e.g. ``the processor of 'name'``.
    """
    said = " ".join(str(error).split())
    found = next(filter(None, (pattern.search(said) for pattern in _MISSING)), None)
    if found is None:
        return UserError(f"model: cannot load {what} ({reason(error)})", "install what it needs")
    package = found["name"].lower().replace("_", "-")
    package = _NAMES.get(package, package)
    return UserError(
        f"model: {what} needs the package {package}, which is not installed",
        f"pip install {package}",
    )
