"""A quantity of a variant divided by the reference's, with its 95 % interval.

A ratio is the quotient of the two values beside it: of rates total work / total time, else means.
So the ratio of a rate is the inverse of that of its time where both sets do the same work.

Times and speeds spread in proportion to their size, so intervals are made of logarithms: they are
of the factor itself, never reach below 0, and turn around with the ratio (1 / ratio has the
interval 1 / high to 1 / low).

Sources. Variance of a log ratio of two means: Hedges, Gurevitch and Curtis, The meta-analysis of
response ratios in experimental ecology, Ecology 80 (1999), 1150-1156. The same of rates, and of
pairs: Cochran, Sampling Techniques, 3rd edition (1977), chapter 6. Degrees of freedom of two
samples of unequal spread: Welch, Biometrika 34 (1947), 28-35. Why total times and no mean of the
pages' ratios: Smith, Characterizing computer performance with a single number, Comm. ACM 31 (1988),
1202-1206.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from mfuscope.metrics.totals import between_repeats, by_repeat

Floats = npt.NDArray[np.float64]

#: A smaller standard error of a log ratio is rounding, and no spread.
_NO_SPREAD = 1e-12
#: Logarithm of the largest factor that fits into a double, nearly.
_WIDEST = 700.0


@dataclass(frozen=True, slots=True)
class Repeats:
    """A quantity in the runs of a page, as work / time; absent values are NaN.

    A plain quantity, such as a time, is work with a time of 1: its value is the mean.
    """

    work: Floats
    time: Floats

    @classmethod
    def of(cls, values: Floats) -> "Repeats":
        """Of a plain quantity."""
        return cls(values, np.ones_like(values))

    @property
    def known(self) -> "Repeats":
        """Without absent values."""
        known = ~np.isnan(self.work + self.time)
        return Repeats(self.work[known], self.time[known])

    @property
    def value(self) -> float | None:
        """Total work / total time; None without a run."""
        return float(self.work.sum() / self.time.sum()) if len(self.work) else None

    @property
    def residuals(self) -> Floats:
        """What each run's work is above that of the value, by the mean work."""
        above: Floats = self.work - (self.value or 0.0) * self.time
        return above / float(self.work.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A quantity in two sets of runs; None where absent.

    Attributes:
        reference_mean, variant_mean: means, of rates total work / total time, in the quantity's
            unit.
        ratio: variant / reference.
        ci95_low, ci95_high: 95 % interval of the ratio.
        n: size of the sample behind the interval: repeats of a page (of the set that has fewer),
            or pages; 0 without a ratio.
    """

    reference_mean: float | None = None
    variant_mean: float | None = None
    ratio: float | None = None
    ci95_low: float | None = None
    ci95_high: float | None = None
    n: int = 0


def compare_repeats(reference: Repeats, variant: Repeats) -> Compared:
    """A page's repeats in both sets, as independent samples.

    With the residuals e of each set's n runs, by its mean work, the standard error of the ratio's
    logarithm is sqrt(s_v^2 / n_v + s_r^2 / n_r), s^2 = sum(e^2) / (n - 1): of plain quantities that
    of two means. The half width of the interval of the logarithm is Student's t times that, at
    Welch's degrees of freedom.

    Returns:
        No ratio where a set has no value, or one of 0 or below; no interval where a set has a
        single value. Without any spread, the interval is the ratio itself.
    """
    sets = [reference.known, variant.known]
    found = Compared(reference_mean=sets[0].value, variant_mean=sets[1].value)
    if any(not len(one.work) or one.work.min() <= 0 for one in sets):
        return found
    n = min(len(one.work) for one in sets)
    if n == 1:
        return _with_interval(found, None, n)
    errors = [float((one.residuals**2).sum()) / (len(one.work) - 1) / len(one.work) for one in sets]
    variance = sum(errors)
    if math.sqrt(variance) < _NO_SPREAD:
        return _with_interval(found, 0.0, n)
    freedom = variance**2 / sum(
        error**2 / (len(one.work) - 1) for error, one in zip(errors, sets, strict=True)
    )
    return _with_interval(found, _half_width(math.sqrt(variance), freedom), n)


def compare_pages(pages: Iterable[tuple[Repeats, Repeats]]) -> Compared:
    """All pages, paired: each page's repeats in the reference and in the variant.

    Each page counts with the mean work and time of its repeats. With the residuals of both sets'
    pages, the standard error of the ratio's logarithm is s / sqrt(n) of the n differences
    e_v - e_r, and the half width of its interval Student's t times that: what differs between
    pages, but not between the sets, drops out. What all pages of a repeat share, such as a host
    that is slower for minutes, does not: the half width is at least that of `_between_repeats`. A
    single page is compared by its repeats. Pages without a value in one of the sets are left out.
    """
    pages = list(pages)
    both = [(r.known, v.known) for r, v in pages]
    both = [(r, v) for r, v in both if len(r.work) and len(v.work)]
    if len(both) < 2:
        return compare_repeats(*both[0]) if both else Compared()
    reference, variant = (
        Repeats(
            np.array([pair[of].work.mean() for pair in both]),
            np.array([pair[of].time.mean() for pair in both]),
        )
        for of in (0, 1)
    )
    whole = Compared(reference_mean=reference.value, variant_mean=variant.value)
    if min(reference.work.min(), variant.work.min()) <= 0:
        return whole
    n = len(both)
    error = float((variant.residuals - reference.residuals).std(ddof=1)) / math.sqrt(n)
    half = 0.0 if error < _NO_SPREAD else _half_width(error, n - 1)
    return _with_interval(whole, max(half, _between_repeats(pages)), n)


def _between_repeats(pages: Sequence[tuple[Repeats, Repeats]]) -> float:
    """How far the repeats, paired, disagree on the logarithm of the ratio over all pages.

    See `metrics.totals.between_repeats`. 0 where runs are missing.
    """
    sets = [
        (by_repeat([one.work for one in of]), by_repeat([one.time for one in of]))
        for of in zip(*pages, strict=True)
    ]
    if len({len(values) for of in sets for values in of}) != 1 or not len(sets[0][0]):
        return 0.0
    (work, time), (other_work, other_time) = sets
    whole = (other_work.sum() / other_time.sum()) / (work.sum() / time.sum())
    return between_repeats(np.log((other_work / other_time) / (work / time)), math.log(whole))


def among(found: Compared, k: int) -> Compared:
    """With the interval for a verdict that is the best of `k` (Bonferroni: at 1 - 0.05 / k).

    Degrees of freedom of Welch's interval are at least those taken here, so that its is too wide.
    """
    ratio, low, high = found.ratio, found.ci95_low, found.ci95_high
    if k < 2 or found.n < 2 or not ratio or not low or not high:
        return found
    freedom = found.n - 1
    wider = special.stdtrit(freedom, 1 - 0.025 / k) / special.stdtrit(freedom, 0.975)
    half = float(wider) * math.log(high / ratio)
    if half + abs(math.log(ratio)) >= _WIDEST:
        return replace(found, ci95_low=None, ci95_high=None)
    return replace(found, ci95_low=ratio * math.exp(-half), ci95_high=ratio * math.exp(half))


def _half_width(error: float, freedom: float) -> float:
    return float(special.stdtrit(freedom, 0.975)) * error


def _with_interval(found: Compared, half: float | None, n: int) -> Compared:
    """With the ratio of the values, and its interval from the half width of the logarithm's."""
    if not found.reference_mean or not found.variant_mean:
        return found
    ratio = found.variant_mean / found.reference_mean
    low = high = None
    if half is not None and half + abs(math.log(ratio)) < _WIDEST:
        low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return replace(found, ratio=ratio, ci95_low=low, ci95_high=high, n=n)
