"""Runs that stand out of their kind, with the recorded cause where there is one.

Repeats of one page are too few for quartiles. So every run is taken by the median of its page, and
the fences are those of all runs of a variant: Tukey's, 1.5 quartile ranges beyond the quartiles.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mfuscope.report.survey import RunName

#: Runs that differ by less from their page's median are never flagged, however steady the others.
LEAST = 0.1
#: Fences of fewer runs say nothing.
FEWEST_RUNS = 8
#: A clock this far below the highest of the page's runs has dropped.
CLOCK_DROP = 0.02
NO_CAUSE = "no cause recorded"

Row = Mapping[str, Any]
Stage = Literal["prefill", "decode"]
_STAGES: dict[str, Stage] = {"prefill_ms": "prefill", "decode_ms": "decode"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A run whose stage lies outside of the fences; `ratio` is its time by its page's median."""

    run: RunName
    stage: Stage
    ms: float
    ratio: float
    cause: str


def outliers(metrics: pd.DataFrame) -> list[Outlier]:
    """Runs outside of the quartile fences, the farthest first.

    Args:
        metrics: metrics.csv.
    """
    causes = run_causes(metrics)
    pages = _by_page(metrics)
    found = []
    for variant in dict.fromkeys(variant for variant, _ in pages):
        repeated = [rows for (of, _), rows in pages.items() if of == variant and len(rows) > 1]
        for metric, stage in _STAGES.items():
            runs = [
                (row, row[metric] / np.median([one[metric] for one in rows]))
                for rows in repeated
                for row in rows
            ]
            for row, ratio in _outside(runs):
                found.append(
                    Outlier(
                        run=_name(row),
                        stage=stage,
                        ms=float(row[metric]),
                        ratio=float(ratio),
                        cause="; ".join(causes[_name(row)]) or NO_CAUSE,
                    )
                )
    return sorted(found, key=lambda one: -abs(one.ratio - 1))


def run_causes(metrics: pd.DataFrame) -> dict[RunName, list[str]]:
    """What was recorded of each run that may explain an unusual time; mostly nothing."""
    found = {}
    for rows in _by_page(metrics).values():
        clocks = [row["sm_clock_mhz"] for row in rows if not pd.isna(row["sm_clock_mhz"])]
        for row in rows:
            found[_name(row)] = list(_causes(row, max(clocks, default=0.0)))
    return found


def _by_page(metrics: pd.DataFrame) -> dict[tuple[str, str], list[Row]]:
    pages: dict[tuple[str, str], list[Row]] = {}
    for record in metrics.to_dict("records"):
        row = {str(key): value for key, value in record.items()}
        pages.setdefault((str(row["variant"]), str(row["image"])), []).append(row)
    return pages


def _name(row: Row) -> RunName:
    return RunName(str(row["variant"]), str(row["image"]), int(row["repeat"]))


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
