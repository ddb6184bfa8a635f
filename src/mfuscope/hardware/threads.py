"""How many CPU threads measure; apart from `devices` for jobs that must start in no time."""

import os


def measuring_threads() -> int:
    """CPU threads for torch: every core that the process may use.

    Set explicitly, as the environment of a workflow job says something else (``OMP_NUM_THREADS=1``
    under ``--cores 1``).
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # systems without affinities
