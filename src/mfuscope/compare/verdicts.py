"""What a ratio and its interval say of a metric, in a word."""

from typing import Final, Literal

from mfuscope.compare.ratios import Compared

Verdict = Literal["faster", "slower", "higher", "lower", "no difference shown", ""]

#: The interval holds 1: no proof that there is no difference.
NO_DIFFERENCE: Final = "no difference shown"

_SPEEDS: Final = ("decode_tokens_per_s", "pages_per_s")
# Sums of equal numbers differ in the last digits.
_ROUNDING: Final = 1e-9


def verdict(metric: str, found: Compared) -> Verdict:
    """The verdict on a metric of a variant; empty without an interval.

    Times (names that end in ``_ms``) and speeds are ``faster`` or ``slower``; other metrics
    ``higher`` or ``lower``, as more of them may be good or bad.
    """
    if found.ci95_low is None or found.ci95_high is None:
        return ""
    if found.ci95_low <= 1 + _ROUNDING and found.ci95_high >= 1 - _ROUNDING:
        return NO_DIFFERENCE
    more = found.ci95_low > 1
    if metric in _SPEEDS:
        return "faster" if more else "slower"
    if metric.endswith("_ms"):
        return "slower" if more else "faster"
    return "higher" if more else "lower"
