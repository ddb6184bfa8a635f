"""What measures: the versions of its software, its checkout's commit, its host."""

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path

from mfuscope.core.records import Versions

_FOLDER = Path(__file__).parent


def software_versions(driver: str | None) -> Versions:
    """Collect the versions of the software that measures.

    Args:
        driver: the GPU driver's version, None without a GPU.
    """
    import torch

    import mfuscope

    return Versions(
        mfuscope=mfuscope.__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),
        transformers=importlib.metadata.version("transformers"),
        cuda=torch.version.cuda,
        driver=driver,
        platform=platform.platform(),
    )


def commit() -> tuple[str | None, str]:
    """The commit of mfuscope's checkout, with ``-dirty`` where tracked files were changed.

    Returns:
        The commit, or None and the reason.
    """
    # The checkout may be another project's, in which mfuscope is installed but untracked.
    tracked = _git("ls-files", "--error-unmatch", "__init__.py") is not None
    found = _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    if tracked and found:
        return found, ""
    return None, "mfuscope is no checkout of git here, or git does not answer"


def host_id() -> str:
    """Twelve hex digits that tell this host from others: results are shown, names are private."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:12]


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_FOLDER), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
