"""The number of CPU threads that measure; its own module, as `devices` takes long to import."""

import os

from mfuscope.core.errors import UserError


def measuring_threads() -> int:
    """CPU threads for torch: all cores that the process may use.

    torch must be given them, as Snakemake sets OMP_NUM_THREADS=1 for jobs under ``--cores 1``.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # systems without affinities


def asked_threads(asked: int) -> int:
    """CPU threads for torch as the setting `threads` has it; 0 is all that may be used.

    Raises:
        UserError: fewer may be used than are asked for.
    """
    available = measuring_threads()
    if asked > available:
        raise UserError(
            f"threads: {asked} are asked for, and {available} may be used here",
            f"set `threads` to {available} at most, or to 0 for all of them",
        )
    return asked or available
