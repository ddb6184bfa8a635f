"""Sums over the tables of many runs, read one at a time and merged in batches.

Memory grows with the number of distinct rows, not with the number of runs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

_BATCH = 64


def add_up(
    tables: Iterable[tuple[str, pd.DataFrame]], keys: Sequence[str], sums: Sequence[str]
) -> tuple[Counter[str], pd.DataFrame | None]:
    """Sums over the runs of every variant, and the number of its runs.

    Args:
        tables: (variant, table of one run), one for each run.
        keys: columns that name a row; ``variant`` is put before them.
        sums: columns to add up; a sum is absent if all its values are.

    Returns:
        Runs by variant in order of appearance, and the table; None where no run has a row.
    """
    runs: Counter[str] = Counter()
    total: pd.DataFrame | None = None
    batch: list[pd.DataFrame] = []
    names, amounts = ["variant", *keys], list(sums)
    for variant, table in tables:
        runs[variant] += 1
        if len(table):
            batch.append(table.assign(variant=variant)[names + amounts])
        if len(batch) == _BATCH:
            total = _merge(batch, total, names, amounts)
            batch = []
    return runs, _merge(batch, total, names, amounts) if batch else total


def _merge(
    batch: list[pd.DataFrame], total: pd.DataFrame | None, names: list[str], amounts: list[str]
) -> pd.DataFrame:
    parts = batch if total is None else [total, *batch]
    # As doubles: a batch with an empty column would change the column's type.
    parts = [part.astype(dict.fromkeys(amounts, "float64")) for part in parts]
    grouped = pd.concat(parts, ignore_index=True).groupby(names, sort=False)
    return grouped[amounts].sum(min_count=1).reset_index()
