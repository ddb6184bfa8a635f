"""The number of CPU threads that measure; its own module, as `devices` takes long to import."""

import os


def measuring_threads() -> int:
    """CPU threads for torch: all cores that the process may use.

    torch must be given them, as Snakemake sets OMP_NUM_THREADS=1 for jobs under ``--cores 1``.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # systems without affinities
