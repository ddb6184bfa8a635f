"""A quantity of a variant divided by the reference's, with its 95 % interval.

Times and speeds spread in proportion to their size, so intervals are made of logarithms: they are
of the factor itself, never reach below 0, and turn around with the ratio (1 / ratio has the
interval 1 / high to 1 / low).

Sources. Variance of a log ratio of two means: Hedges, Gurevitch and Curtis, The meta-analysis of
response ratios in experimental ecology, Ecology 80 (1999), 1150-1156. Degrees of freedom of two
samples of unequal spread: Welch, Biometrika 34 (1947), 28-35. Geometric mean of paired ratios with
Student's t: Fleming and Wallace, How not to lie with statistics, Comm. ACM 29 (1986), 218-221.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

#: A smaller standard error of a log ratio is rounding, and no spread.
_NO_SPREAD = 1e-12
#: Logarithm of the largest factor that fits into a double, nearly.
_WIDEST = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A quantity in two sets of runs; None where absent.

    Attributes:
        reference_mean, variant_mean: means, in the quantity's unit.
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


def compare_repeats(reference: Floats, variant: Floats) -> Compared:
    """A page's repeats in both sets, as independent samples; absent values are NaN.

    The ratio is that of the means. The standard error of its logarithm is
    sqrt(s_v^2 / (n_v m_v^2) + s_r^2 / (n_r m_r^2)), from the standard deviations s, means m and
    sizes n of both samples; the half width of the interval of the logarithm is Student's t times
    that, at Welch's degrees of freedom.

    Returns:
        No ratio where a set has no value, or one of 0 or below; no interval where a set has a
        single value. Without any spread, the interval is the ratio itself.
    """
    samples = [values[~np.isnan(values)] for values in (reference, variant)]
    means = [float(values.mean()) if len(values) else None for values in samples]
    found = Compared(reference_mean=means[0], variant_mean=means[1])
    if any(not len(values) or values.min() <= 0 for values in samples):
        return found
    n = min(len(values) for values in samples)
    errors = [_relative_variance(values) for values in samples] if n > 1 else None
    ratio = float(samples[1].mean() / samples[0].mean())
    if errors is None:
        return _with_interval(found, ratio, None, n)
    variance = sum(errors)
    if math.sqrt(variance) < _NO_SPREAD:
        return _with_interval(found, ratio, 0.0, n)
    freedom = variance**2 / sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, samples, strict=True)
    )
    return _with_interval(found, ratio, _half_width(math.sqrt(variance), freedom), n)


def compare_pages(pages: Iterable[Compared]) -> Compared:
    """All pages, paired: each as `compare_repeats` compared it.

    The ratio is the geometric mean of the pages' ratios: every page counts alike, however long it
    takes. The interval is Student's t over the logarithms of the pages' ratios, and n counts pages:
    what differs between pages, but not between the sets, drops out. A single page stays as it is.
    Pages without a value in one of the sets are left out.

    Returns:
        Means over the means of the pages that both sets have.
    """
    found = [
        one for one in pages if one.reference_mean is not None and one.variant_mean is not None
    ]
    if len(found) < 2:
        return found[0] if found else Compared()
    whole = Compared(
        reference_mean=float(np.mean([one.reference_mean for one in found])),
        variant_mean=float(np.mean([one.variant_mean for one in found])),
    )
    logs = np.array([math.log(one.ratio) for one in found if one.ratio is not None])
    n = len(logs)
    if n == 0:
        return whole
    ratio = math.exp(logs.mean())
    if n == 1:
        return _with_interval(whole, ratio, None, n)
    error = float(logs.std(ddof=1)) / math.sqrt(n)
    half = 0.0 if error < _NO_SPREAD else _half_width(error, n - 1)
    return _with_interval(whole, ratio, half, n)


def among(found: Compared, k: int) -> Compared:
    """With the interval for a verdict that is the best of `k` (Bonferroni: at 1 - 0.05 / k).

    Degrees of freedom of Welch's interval are at least those taken here, so that its is too wide.
    """
    ratio, low, high = found.ratio, found.ci95_low, found.ci95_high
    if k < 2 or found.n < 2 or not ratio or not low or not high:
        return found
    freedom = found.n - 1
    wider = special.stdtrit(freedom, 1 - 0.025 / k) / special.stdtrit(freedom, 0.975)
    return _with_interval(found, ratio, float(wider) * math.log(high / ratio), found.n)


def _relative_variance(values: Floats) -> float:
    """Squared standard error of the mean, by the squared mean; of at least two values."""
    return float(values.var(ddof=1) / values.mean() ** 2) / len(values)


def _half_width(error: float, freedom: float) -> float:
    return float(special.stdtrit(freedom, 0.975)) * error


def _with_interval(found: Compared, ratio: float, half: float | None, n: int) -> Compared:
    """With the interval around a ratio, from the half width of its logarithm's."""
    low = high = None
    if half is not None and half + abs(math.log(ratio)) < _WIDEST:
        low, high = ratio * math.exp(-half), ratio * math.exp(half)
    return Compared(
        reference_mean=found.reference_mean,
        variant_mean=found.variant_mean,
        ratio=ratio,
        ci95_low=low,
        ci95_high=high,
        n=n,
    )
