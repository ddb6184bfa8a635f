"""Rates over several runs: total work / total time, with its 95 % interval.

A mean of rates is no rate of anything: a run that takes ten times as long would count as much as
the others. Work / time is the mean of the rates, each weighted by its time.

The interval is that of a ratio estimator: the delta method with Student's t, of the logarithm, so
that it never reaches below 0 and turns around with the rate (the interval of 1 / rate has the ends
1 / high and 1 / low). With residuals e = work - rate x time of n runs or pages, the standard error
of the logarithm is sqrt(sum(e^2) / (n - 1) / n) / mean work. Source: Cochran, Sampling Techniques,
3rd edition (1977), chapter 6. A bootstrap of three repeats would hold the true value 75 times in a
hundred instead of 95 (docs/measurement.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

Floats = npt.NDArray[np.float64]

_STAGES: Final = {"prefill": ("prefill",), "decode": ("decode",), "model": ("prefill", "decode")}


def _mfu_times() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, stages in _STAGES.items():
        wall = tuple(f"{stage}_ms" for stage in stages)
        busy = tuple(f"{stage}_device_busy_ms" for stage in stages)
        found |= {f"mfu_{name}": wall, f"mfu_{name}_of_ceiling": wall, f"mfu_{name}_busy": busy}
    return found


#: The rates of metrics.csv, each with the columns whose sum is the time that it is over.
RATES: Final[Mapping[str, tuple[str, ...]]] = {
    "pages_per_s": ("page_ms",),
    "decode_tokens_per_s": ("decode_ms",),
    **_mfu_times(),
    "mbu_decode": ("decode_ms",),
    "mbu_decode_busy": ("decode_device_busy_ms",),
    "hfu_prefill": ("prefill_ms",),
    "hfu_decode": ("decode_ms",),
    "prefill_busy_share": ("prefill_ms",),
    "decode_busy_share": ("decode_ms",),
}
#: Columns of summary.csv, empty for what is no rate.
TOTALS: Final = ("total", "total_ci95_low", "total_ci95_high")


#: Fewest repeats whose spread tells an interval of its own.
_ENOUGH_REPEATS: Final = 4


@dataclass(frozen=True, slots=True)
class Totals:
    """Rates by group; NaN where there is none.

    Attributes:
        work, time: means over the runs of a group, in any unit whose quotient is the rate's.
        total: work / time.
        low, high: its 95 % interval; NaN below two runs.
    """

    work: Floats
    time: Floats
    total: Floats
    low: Floats
    high: Floats


def between_repeats(values: Floats, whole: float) -> float:
    """The half width that an interval over pages has at least, by how far the repeats disagree.

    What all pages of a repeat share, such as a host that is slower for minutes, no spread over
    pages shows. From four repeats on, it is the half width of Student's interval of their mean; of
    fewer, whose own spread is hardly known, the largest distance of one from the whole, so that the
    interval never leaves out what a repeat showed.

    Args:
        values: one of each repeat, over all pages; of a rate or a ratio its logarithm.
        whole: that of all repeats.

    Returns:
        0 of fewer than two repeats, and where a value is absent.
    """
    n = len(values)
    if n < 2 or not np.isfinite([*values, whole]).all():
        return 0.0
    if n < _ENOUGH_REPEATS:
        return float(np.abs(values - whole).max())
    return float(special.stdtrit(n - 1, 0.975) * values.std(ddof=1) / np.sqrt(n))


def by_repeat(pages: Sequence[Floats]) -> Floats:
    """The sum over pages of each repeat; empty where the pages have other numbers of repeats."""
    if len({len(page) for page in pages}) != 1:
        return np.empty(0)
    summed: Floats = np.sum(pages, axis=0, dtype=np.float64)
    return summed


def work_and_time(metrics: pd.DataFrame, rate: str) -> tuple[Floats, Floats]:
    """Work and time of each run, of which a rate is the quotient; NaN where the rate is absent.

    Args:
        metrics: rows of metrics.csv.
        rate: one of `RATES`.
    """
    columns = list(RATES[rate])
    parts = metrics.reindex(columns=columns).astype(np.float64)
    if len(columns) > 1:  # the MFU of a run of one new token is of its prefill alone
        stepless = metrics["decode_tokens_per_s"].isna()
        parts[columns[1]] = parts[columns[1]].where(~stepless, 0.0)
    rates = metrics[rate].to_numpy(dtype=np.float64, na_value=np.nan)
    time = parts.sum(axis="columns", skipna=False).to_numpy(dtype=np.float64)
    time = np.where(np.isnan(rates), np.nan, time)
    return rates * time, time


def totals(
    group: npt.NDArray[np.integer],
    groups: int,
    work: Floats,
    time: Floats,
    repeats: Sequence[Floats] = (),
) -> Totals:
    """Total work / total time of each group of runs, or of pages.

    Args:
        group: the group of each run, from 0 to `groups` - 1.
        work, time: of each run; runs in which one is NaN are left out.
        repeats: of groups of pages, the rate of each repeat, which the intervals reach to
            (`between_repeats`).
    """
    known = ~np.isnan(work + time)
    group, work, time = group[known], work[known], time[known]
    with np.errstate(divide="ignore", invalid="ignore"):
        n = np.bincount(group, minlength=groups)
        mean_work = np.bincount(group, work, groups) / n
        mean_time = np.bincount(group, time, groups) / n
        total = mean_work / mean_time
        residuals = work - total[group] * time
        squares = np.bincount(group, residuals**2, groups)
        error = np.sqrt(squares / (n - 1) / n) / mean_work
        half = special.stdtrit(n - 1, 0.975) * error
        for place, rates in enumerate(repeats):
            least = between_repeats(np.log(rates), np.log(total[place]))
            half[place] = np.maximum(half[place], least)  # NaN stays
    return Totals(mean_work, mean_time, total, total * np.exp(-half), total * np.exp(half))
