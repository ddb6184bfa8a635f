"""Outliers among the runs, with what explains them.

Repeats of one page are too few for quartiles. So each run is divided by its page's median, and
Tukey's rule (1.5 interquartile ranges beyond the quartiles) is applied to all runs of a variant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mfuscope.core.runs import RunKey
from mfuscope.metrics.causes import STAGES, Row, Stage
from mfuscope.metrics.repeats import LEAST, Excess, by_page, key_of_row

#: Least number of runs for quartiles.
FEWEST_RUNS = 8
#: The rule, in words.
#: Fewest repeats of a page: of two, either may be the odd one.
LEAST_REPEATS = 3
OUTLIER = "more than 1.5 interquartile ranges beyond the quartiles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A run with an outlying time of a stage; `ratio` is that time / its page's median.

    `excess` explains a slow one: what it took beyond the fastest repeat. None of a fast one.
    """

    run: RunKey
    stage: Stage
    ms: float
    ratio: float
    excess: Excess | None


def outliers(metrics: pd.DataFrame, excesses: Iterable[Excess]) -> list[Outlier]:
    """Runs with an outlying time, the farthest first.

    Args:
        metrics: metrics.csv.
        excesses: of its runs.
    """
    known = {(one.run, one.stage): one for one in excesses}
    pages = by_page(metrics)
    found = []
    for variant in dict.fromkeys(variant for variant, _ in pages):
        repeated = [
            rows for (of, _), rows in pages.items() if of == variant and len(rows) >= LEAST_REPEATS
        ]
        for stage in STAGES:
            runs = [pair for rows in repeated for pair in _by_median(rows, stage)]
            for row, ratio in _outside(runs):
                run = key_of_row(row)
                found.append(
                    Outlier(
                        run=run,
                        stage=stage,
                        ms=float(row[f"{stage}_ms"]),
                        ratio=ratio,
                        excess=known[run, stage] if ratio > 1 else None,
                    )
                )
    return sorted(found, key=lambda one: -abs(one.ratio - 1))


def _by_median(rows: Sequence[Row], stage: Stage) -> list[tuple[Row, float]]:
    """A page's runs, each with its time of a stage / the median of the page."""
    median = np.median([row[f"{stage}_ms"] for row in rows])
    return [(row, float(row[f"{stage}_ms"] / median)) for row in rows]


def _outside(runs: list[tuple[Row, float]]) -> Iterable[tuple[Row, float]]:
    if len(runs) < FEWEST_RUNS:
        return
    low, high = np.quantile([ratio for _, ratio in runs], [0.25, 0.75])
    reach = 1.5 * (high - low)
    for row, ratio in runs:
        if not low - reach <= ratio <= high + reach and abs(ratio - 1) > LEAST:
            yield row, ratio
