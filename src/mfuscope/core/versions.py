"""Which commit of mfuscope this is."""

import subprocess
from pathlib import Path

_FOLDER = Path(__file__).parent


def commit() -> tuple[str | None, str]:
    """The checkout's commit, with ``-dirty`` where tracked files were changed.

    Returns:
        The commit, or None and the reason.
    """
    # A checkout of something else may hold an installed copy: only tracked files count.
    tracked = _git("ls-files", "--error-unmatch", "__init__.py") is not None
    found = _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    if tracked and found:
        return found, ""
    return None, "mfuscope is no checkout of git here, or git does not answer"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_FOLDER), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
