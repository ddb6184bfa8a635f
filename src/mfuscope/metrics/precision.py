"""How precise a page's mean is, and how many repeats or timed passes would make it precise enough.

The half width of the 95 % interval of a mean of n repeats, as a share of the mean, is
t x cv / sqrt(n). cv is pooled over the pages of a variant, as three repeats of one page are too few
to estimate it, and t is Student's at the pooled degrees of freedom: the sum of n - 1 over the
pages. That takes for granted that pages vary alike. Where single passes vary by more than runs do,
a longer run helps first: a run is the median of k passes, whose variance is pi / (2k + pi - 2) of
that of one pass (Hodges and Lehmann, Ann. Math. Stat. 38 (1967), 926-931), and what of a run's
variance is not due to its passes stays. The standard deviation of one pass is estimated from the
range over a run's passes, as in control charts (Tippett, Biometrika 17 (1925), 364-387). Both take
normal noise for granted.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from mfuscope.metrics.causes import STAGES, Stage

#: The half width of a page's interval that a measurement should reach.
TARGET = 0.1
#: More repeats, and more passes a run, are not recommended.
MOST_REPEATS, MOST_PASSES = 50, 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A number of repeats and of timed passes, and the half width that it would give."""

    repeats: int
    timed_passes: int
    half_width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How precise the pages' means of a stage are in a variant; shares of the mean.

    Attributes:
        repeats: fewest of a page that was repeated.
        timed_passes: fewest of a run.
        pages: how many were repeated.
        freedom: degrees of freedom of `cv`.
        cv: of the repeats, pooled over the pages.
        cv_passes: of one pass within its run; None where runs have a single pass.
        half_width: of the 95 % interval of a page's mean.
    """

    variant: str
    stage: Stage
    repeats: int
    timed_passes: int
    pages: int
    freedom: int
    cv: float
    cv_passes: float | None
    half_width: float

    @property
    def enough(self) -> bool:
        """Whether the interval is narrow enough."""
        return self.half_width <= TARGET

    @property
    def passes_vary_more(self) -> bool:
        """Whether single passes vary by more than runs."""
        return self.cv_passes is not None and self.cv_passes > self.cv

    @property
    def plan(self) -> Plan | None:
        """The least that makes it precise enough: passes where they vary more, else repeats.

        None where it takes more than `MOST_REPEATS`.
        """
        if self.passes_vary_more:
            odd = range(self.timed_passes | 1, MOST_PASSES + 1, 2)  # a median that is measured
            found = _least(odd, self._with_passes)
            if found is not None:
                return found
        return _least(range(max(self.repeats, 2), MOST_REPEATS + 1), self._with_repeats)

    def _with_repeats(self, repeats: int) -> Plan:
        freedom = self.freedom + self.pages * (repeats - self.repeats)
        half = half_width(self.cv, repeats, freedom)
        return Plan(repeats=repeats, timed_passes=self.timed_passes, half_width=half)

    def _with_passes(self, passes: int) -> Plan:
        now = variance_of_median(self.timed_passes)
        of_passes = min(self.cv**2, (self.cv_passes or 0.0) ** 2 * now)
        cv = math.sqrt(self.cv**2 - of_passes * (1 - variance_of_median(passes) / now))
        half = half_width(cv, self.repeats, self.freedom)
        return Plan(repeats=self.repeats, timed_passes=passes, half_width=half)


def precisions(metrics: pd.DataFrame) -> list[Precision]:
    """The precision of every variant and stage that has repeats.

    Args:
        metrics: metrics.csv.
    """
    found = []
    for variant, rows in metrics.groupby("variant", sort=False):
        for stage in STAGES:
            times = rows.groupby("image", sort=False)[f"{stage}_ms"].agg(["count", "mean", "std"])
            times = times[(times["count"] > 1) & (times["mean"] > 0)]
            if times.empty:
                continue
            squares = (times["std"] / times["mean"]) ** 2
            freedom = int((times["count"] - 1).sum())
            cv = math.sqrt(float(((times["count"] - 1) * squares).sum()) / freedom)
            repeats, passes = int(times["count"].min()), int(rows["timed_passes"].min())
            found.append(
                Precision(
                    variant=str(variant),
                    stage=stage,
                    repeats=repeats,
                    timed_passes=passes,
                    pages=len(times),
                    freedom=freedom,
                    cv=cv,
                    cv_passes=_of_passes(rows, stage),
                    half_width=half_width(cv, repeats, freedom),
                )
            )
    return found


def half_width(cv: float, n: int, freedom: int) -> float:
    """Half width of the 95 % interval of a mean of n values, as a share of the mean.

    Args:
        freedom: degrees of freedom of `cv`.
    """
    return float(special.stdtrit(freedom, 0.975)) * cv / math.sqrt(n)


def mean_range(k: int) -> float:
    """Mean range of k standard normal values: the integral of 1 - F^k - (1 - F)^k."""
    x = np.linspace(-8, 8, 4001)
    below = special.ndtr(x)
    return float(np.trapezoid(1 - below**k - (1 - below) ** k, x))


def _of_passes(rows: pd.DataFrame, stage: Stage) -> float | None:
    """The cv of one pass within its run, from the ranges over the runs' passes."""
    several = rows[(rows["timed_passes"] > 1) & rows[f"{stage}_spread"].notna()]
    if several.empty:
        return None
    ranges = several.groupby("timed_passes")[f"{stage}_spread"].agg(["mean", "count"])
    estimates = [mean / mean_range(int(str(k))) for k, mean in ranges["mean"].items()]
    return float(np.average(estimates, weights=ranges["count"]))


def variance_of_median(k: int) -> float:
    """Variance of the median of k normal values by that of one value."""
    return math.pi / (2 * k + math.pi - 2)


def _least(numbers: Iterable[int], plan: Callable[[int], Plan]) -> Plan | None:
    plans = (plan(number) for number in numbers)
    return next((one for one in plans if one.half_width <= TARGET), None)
