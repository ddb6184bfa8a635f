"""Outliers among the runs, with the recorded cause where there is one.

Repeats of one page are too few for quartiles. So each run is divided by its page's median, and
Tukey's fences (1.5 quartile ranges beyond the quartiles) are taken over all runs of a variant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mfuscope.core.runs import RunKey

#: Runs closer to their page's median are never outliers, however narrow the fences.
LEAST = 0.1
#: Least number of runs for fences.
FEWEST_RUNS = 8
#: A clock counts as dropped this far below the highest of the page's runs.
CLOCK_DROP = 0.02
NO_CAUSE = "no cause recorded"

Row = Mapping[str, Any]
Stage = Literal["prefill", "decode"]
STAGES: tuple[Stage, ...] = ("prefill", "decode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A run whose stage lies outside of the fences; `ratio` is its time / its page's median."""

    run: RunKey
    stage: Stage
    ms: float
    ratio: float
    cause: str


def outliers(metrics: pd.DataFrame) -> list[Outlier]:
    """Runs outside of the quartile fences, the farthest first.

    Args:
        metrics: metrics.csv.
    """
    causes, pages = slow_causes(metrics), _by_page(metrics)
    found = []
    for variant in dict.fromkeys(variant for variant, _ in pages):
        repeated = [rows for (of, _), rows in pages.items() if of == variant and len(rows) > 1]
        for stage in STAGES:
            runs = [pair for rows in repeated for pair in _by_median(rows, stage)]
            for row, ratio in _outside(runs):
                name = _name(row)
                found.append(
                    Outlier(
                        run=name,
                        stage=stage,
                        ms=float(row[f"{stage}_ms"]),
                        ratio=ratio,
                        cause="; ".join(causes.get((name, stage), ())) or NO_CAUSE,
                    )
                )
    return sorted(found, key=lambda one: -abs(one.ratio - 1))


def slow_causes(metrics: pd.DataFrame) -> dict[tuple[RunKey, Stage], list[str]]:
    """Recorded causes of runs slower than their page's median by `LEAST`; often none.

    A recorded cause is no proof: other runs may have it without being slow.
    """
    found = {}
    for rows in _by_page(metrics).values():
        clocks = [row["sm_clock_mhz"] for row in rows if not pd.isna(row["sm_clock_mhz"])]
        for stage in STAGES:
            for row, ratio in _by_median(rows, stage):
                if ratio > 1 + LEAST:
                    causes = list(_causes(row, max(clocks, default=0.0)))
                    found[_name(row), stage] = causes
    return found


def _by_median(rows: Sequence[Row], stage: Stage) -> list[tuple[Row, float]]:
    """A page's runs, each with its time of a stage / the median of the page."""
    median = np.median([row[f"{stage}_ms"] for row in rows])
    return [(row, float(row[f"{stage}_ms"] / median)) for row in rows]


def _by_page(metrics: pd.DataFrame) -> dict[tuple[str, str], list[Row]]:
    pages: dict[tuple[str, str], list[Row]] = {}
    for record in metrics.to_dict("records"):
        row = {str(key): value for key, value in record.items()}
        pages.setdefault((str(row["variant"]), str(row["image"])), []).append(row)
    return pages


def _name(row: Row) -> RunKey:
    return RunKey(str(row["variant"]), str(row["image"]), int(row["repeat"]))


def _outside(runs: list[tuple[Row, float]]) -> Iterable[tuple[Row, float]]:
    if len(runs) < FEWEST_RUNS:
        return
    low, high = np.quantile([ratio for _, ratio in runs], [0.25, 0.75])
    reach = 1.5 * (high - low)
    for row, ratio in runs:
        if not low - reach <= ratio <= high + reach and abs(ratio - 1) > LEAST:
            yield row, ratio


def _causes(row: Row, highest_clock: float) -> Iterable[str]:
    clock, reasons = row["sm_clock_mhz"], row["throttle_reasons"]
    if not pd.isna(reasons) and reasons != "none":
        yield f"throttled: {str(reasons).replace('+', ', ')}"
    if not pd.isna(clock) and clock < (1 - CLOCK_DROP) * highest_clock:
        yield f"SM clock {clock:.0f} MHz, up to {highest_clock:.0f} MHz in other repeats"
    if row["runs_before"] == 0:
        yield "first run of its process"
