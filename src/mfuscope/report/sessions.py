"""Runs of several sessions, and runs beside which a trace was read: what both do to the means.

A session is one call of the workflow and one process that measured in it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mfuscope.compare.ratios import Compared, Floats, Repeats, compare_pages
from mfuscope.metrics.causes import STAGES, Stage

#: Conditions of two sessions differ from here on: the reference pass (ratio of the slowest to the
#: fastest), the SM clock (likewise), and the load (difference).
REFERENCE_LIMIT, CLOCK_LIMIT, LOAD_LIMIT = 1.05, 1.02, 1.0
Pairs = Iterable[tuple[Repeats, Repeats]]

_REFERENCES: Mapping[Stage, str] = {
    "prefill": "reference_prefill_ms",
    "decode": "reference_step_ms",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRuns:
    """A session's runs of the pages of a variant that other sessions measured too.

    Attributes:
        effect: mean time of the session's runs / mean of all runs, by stage, as the geometric mean
            over its pages.
        reference: the same of its reference passes; None where one is absent.
        load: median load average before its runs.
        sm_clock_mhz: median SM clock.
    """

    variant: str
    session: str
    process: str
    runs: int
    pages: int
    effect: Mapping[Stage, float | None]
    reference: Mapping[Stage, float | None]
    load: float | None
    sm_clock_mhz: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Runs of a variant beside which traces were read, against its other runs of the same pages."""

    variant: str
    runs: int
    beside: int
    times: Mapping[Stage, Compared]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Other processes on the GPU: runs where that is known, runs with some, most of a run."""

    known: int
    beside: int
    most: int


def neighbours(metrics: pd.DataFrame) -> Neighbours:
    """Who else was on the GPU.

    Args:
        metrics: metrics.csv.
    """
    known = metrics["gpu_processes"].dropna().astype(int)
    beside = known[known > 0]
    most = int(beside.max()) if len(beside) else 0
    return Neighbours(known=len(known), beside=len(beside), most=most)


def sessions(metrics: pd.DataFrame) -> list[SessionRuns]:
    """The sessions that share pages, variant by variant; none where every page has one session.

    Args:
        metrics: metrics.csv.
    """
    found = []
    names = metrics["session"].astype(str) + "\n" + metrics["process"].astype(str)
    shared = names.groupby([metrics["variant"], metrics["image"]]).transform("nunique") > 1
    for variant, rows in metrics[shared].groupby("variant", sort=False):
        for (session, process), own in rows.groupby(["session", "process"], sort=False):
            found.append(
                SessionRuns(
                    variant=str(variant),
                    session=str(session),
                    process=str(process),
                    runs=len(own),
                    pages=own["image"].nunique(),
                    effect={stage: _by_mean(own, rows, f"{stage}_ms") for stage in STAGES},
                    reference={
                        stage: _by_mean(own, rows, column) for stage, column in _REFERENCES.items()
                    },
                    load=_median(own["load_1min"]),
                    sm_clock_mhz=_median(own["sm_clock_mhz"]),
                )
            )
    return found


def differences(found: Sequence[SessionRuns]) -> list[str]:
    """In which conditions the sessions of a variant differ, in words."""
    told = []
    for stage in STAGES:
        known = [one.reference[stage] for one in found]
        ratio = _largest_ratio(known)
        if ratio is not None and ratio > REFERENCE_LIMIT:
            told.append(f"{stage} of the reference pass by ×{ratio:.2f}")
    loads = [one.load for one in found if one.load is not None]
    if loads and max(loads) - min(loads) > LOAD_LIMIT:
        told.append(f"the load before the runs ({min(loads):.1f} to {max(loads):.1f})")
    clocks = [one.sm_clock_mhz for one in found if one.sm_clock_mhz is not None]
    ratio = _largest_ratio(clocks)
    if ratio is not None and ratio > CLOCK_LIMIT:
        told.append(f"the SM clock ({min(clocks):.0f} to {max(clocks):.0f} MHz)")
    return told


def overlaps(metrics: pd.DataFrame) -> list[Overlap]:
    """Variants of which a run overlapped with the reading of a trace.

    Args:
        metrics: metrics.csv.
    """
    found = []
    for variant, rows in metrics.groupby("variant", sort=False):
        beside = rows["overlapping_jobs"].to_numpy() > 0
        if not beside.any():
            continue
        places = rows.groupby("image", sort=False).indices.values()
        pages = [np.asarray(of_page, dtype=np.intp) for of_page in places]
        times = {stage: rows[f"{stage}_ms"].to_numpy(dtype=float) for stage in STAGES}
        found.append(
            Overlap(
                variant=str(variant),
                runs=len(rows),
                beside=int(beside.sum()),
                times={
                    stage: compare_pages(_pairs(ms, beside, pages)) for stage, ms in times.items()
                },
            )
        )
    return found


def _pairs(ms: Floats, beside: NDArray[np.bool_], pages: Iterable[NDArray[np.intp]]) -> Pairs:
    """Of each page the times of runs alone, and of those beside which a trace was read."""
    for page in pages:
        met = beside[page]
        yield Repeats.of(ms[page[~met]]), Repeats.of(ms[page[met]])


def _by_mean(own: pd.DataFrame, rows: pd.DataFrame, column: str) -> float | None:
    """Geometric mean over pages of the mean of a column / that of all rows of the page."""
    means = own.groupby("image")[column].mean() / rows.groupby("image")[column].mean()
    known = means.dropna()
    known = known[known > 0]
    return math.exp(float(np.log(known.astype(float)).mean())) if len(known) else None


def _largest_ratio(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value]
    return max(known) / min(known) if known else None


def _median(values: "pd.Series[float]") -> float | None:
    known = values.dropna()
    return float(known.median()) if len(known) else None
