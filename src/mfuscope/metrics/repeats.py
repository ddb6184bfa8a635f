"""The repeats of each page: what every run took beyond the fastest, and its causes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mfuscope.core.runs import RunKey
from mfuscope.metrics.causes import COLUMNS, SHARED, STAGES, Cause, Row, Stage, causes

#: A run that differs by more than this share from its page's median stands out.
LEAST = 0.1
#: Fewest first runs of processes that say whether first runs are slow.
FEWEST_FIRST = 3
#: Fewest slow and fewest fast runs of a variant that say what slow runs have more of, and fewest
#: runs that met it.
FEWEST_RUNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """What a stage of a run took beyond that of the page's fastest repeat, and why."""

    run: RunKey
    stage: Stage
    ms: float
    fastest_ms: float
    causes: tuple[Cause, ...]

    @property
    def excess_ms(self) -> float:
        """Time beyond the fastest."""
        return self.ms - self.fastest_ms


def excesses(metrics: pd.DataFrame) -> list[Excess]:
    """What every run took beyond the fastest repeat of its page, and why, stage by stage.

    Args:
        metrics: metrics.csv. A cell that is empty claims nothing.

    Returns:
        None for the fastest runs and for pages measured once.
    """
    pages = by_page(metrics)
    late, chance = _late_starters(pages), _met_by_chance(pages)
    found = []
    for (variant, _), rows in pages.items():
        for stage in STAGES:
            fast = min(rows, key=lambda row: float(row[f"{stage}_ms"]))
            for slow in rows:
                if slow[f"{stage}_ms"] > fast[f"{stage}_ms"]:
                    found.append(_excess(slow, fast, stage, (variant, stage) in late))
    met = Counter((one.run.variant, one.stage, c.kind) for one in found for c in one.causes)
    for (variant, stage, kind), runs in met.items():
        if kind in SHARED and runs < FEWEST_RUNS:
            chance[variant, stage].add(kind)
    return [_without(one, chance[one.run.variant, one.stage]) for one in found]


def merged(found: Iterable[Excess]) -> tuple[Cause, ...]:
    """The causes of several runs by kind: milliseconds are added, the largest come first.

    What was recorded is that of the run of which most is explained.
    """
    kinds: dict[tuple[str, str], list[Cause]] = {}
    for one in found:
        for cause in one.causes:
            kinds.setdefault((cause.kind, cause.name), []).append(cause)
    sums = []
    for alike in kinds.values():
        most = max(alike, key=lambda cause: cause.explained_ms or 0.0)
        known = [cause.explained_ms for cause in alike if cause.explained_ms is not None]
        sums.append(replace(most, explained_ms=sum(known) if known else None, runs=len(alike)))
    return tuple(sorted(sums, key=lambda cause: -(cause.explained_ms or 0.0)))


def explained_ms(causes: Iterable[Cause], kinds: Sequence[str]) -> float:
    """Milliseconds that causes of these kinds explain together."""
    return sum(cause.explained_ms or 0.0 for cause in causes if cause.kind in kinds)


def by_page(metrics: pd.DataFrame) -> dict[tuple[str, str], list[Row]]:
    """The rows of metrics.csv by (variant, image)."""
    pages: dict[tuple[str, str], list[Row]] = {}
    for record in metrics[list(COLUMNS)].to_dict("records"):
        row = {str(key): value for key, value in record.items()}
        pages.setdefault((str(row["variant"]), str(row["image"])), []).append(row)
    return pages


def key_of_row(row: Row) -> RunKey:
    """The key of a row of metrics.csv."""
    return RunKey(str(row["variant"]), str(row["image"]), int(row["repeat"]))


def _late_starters(pages: Mapping[tuple[str, str], Sequence[Row]]) -> set[tuple[str, Stage]]:
    """Variants and stages in which first runs of processes are slow, in their median.

    Each is held against the median of its page's other repeats.
    """
    ratios: dict[tuple[str, Stage], list[float]] = {}
    for (variant, _), rows in pages.items():
        for first in (row for row in rows if row["runs_before"] == 0 and len(rows) > 1):
            for stage in STAGES:
                others = np.median([row[f"{stage}_ms"] for row in rows if row is not first])
                if others:
                    ratio = float(first[f"{stage}_ms"] / others)
                    ratios.setdefault((variant, stage), []).append(ratio)
    return {
        key
        for key, found in ratios.items()
        if len(found) >= FEWEST_FIRST and np.median(found) > 1 + LEAST
    }


def _met_by_chance(
    pages: Mapping[tuple[str, str], Sequence[Row]],
) -> dict[tuple[str, Stage], set[str]]:
    """Shared circumstances of which a variant's slow runs do not have more than its fast ones.

    Slow runs lie above the median of their page, fast ones below, in each stage.
    """
    found: dict[tuple[str, Stage], set[str]] = {}
    for variant in dict.fromkeys(variant for variant, _ in pages):
        own = [rows for (of, _), rows in pages.items() if of == variant]
        for stage in STAGES:
            slow, fast = _slow_and_fast(own, f"{stage}_ms")
            found[variant, stage] = {
                kind for kind, column in SHARED.items() if not _have_more(slow, fast, column)
            }
    return found


def _slow_and_fast(pages: Iterable[Sequence[Row]], column: str) -> tuple[list[Row], list[Row]]:
    slow, fast = [], []
    for rows in pages:
        median = np.median([row[column] for row in rows])
        slow += [row for row in rows if row[column] > median]
        fast += [row for row in rows if row[column] < median]
    return slow, fast


def _have_more(slow: Sequence[Row], fast: Sequence[Row], column: str) -> bool:
    """Whether slow runs have more in the mean than fast ones; too few runs say nothing."""
    of_slow, of_fast = (
        [float(row[column]) for row in rows if not pd.isna(row[column])] for rows in (slow, fast)
    )
    if min(len(of_slow), len(of_fast)) < FEWEST_RUNS:
        return False
    return bool(np.mean(of_slow) > np.mean(of_fast))


def _without(one: Excess, kinds: set[str]) -> Excess:
    return replace(one, causes=tuple(cause for cause in one.causes if cause.kind not in kinds))


def _excess(slow: Row, fast: Row, stage: Stage, late: bool) -> Excess:
    found = causes(slow, fast, stage)
    if late and slow["runs_before"] == 0:
        found += (Cause(kind="first_run"),)
    return Excess(
        run=key_of_row(slow),
        stage=stage,
        ms=float(slow[f"{stage}_ms"]),
        fastest_ms=float(fast[f"{stage}_ms"]),
        causes=found,
    )
