"""Verdicts: which way is better, and when there is none."""

import pytest

from mfuscope.compare.ratios import Compared
from mfuscope.compare.verdicts import verdict


def compared(low: float | None, high: float | None) -> Compared:
    return Compared(ratio=1.5, ci95_low=low, ci95_high=high, n=3)


@pytest.mark.parametrize(
    ("metric", "above", "below"),
    [
        ("page_ms", "slower", "faster"),
        ("step_p50_ms", "slower", "faster"),
        ("decode_tokens_per_s", "faster", "slower"),
        ("pages_per_s", "faster", "slower"),
        ("mfu_model", "higher", "lower"),
        ("peak_memory_gb", "higher", "lower"),
        ("decode_kernels_per_step", "higher", "lower"),
    ],
)
def test_what_is_more_of_a_metric(metric: str, above: str, below: str) -> None:
    assert verdict(metric, compared(1.01, 2.0)) == above
    assert verdict(metric, compared(0.5, 0.99)) == below
    assert verdict(metric, compared(0.99, 1.01)) == "no difference shown"
    assert verdict(metric, compared(1.0, 2.0)) == "no difference shown"
    assert verdict(metric, compared(None, None)) == ""


def test_rounding_is_no_difference() -> None:
    assert verdict("page_ms", compared(1 + 1e-12, 1 + 1e-12)) == "no difference shown"
    assert verdict("page_ms", compared(1 + 1e-6, 1 + 1e-6)) == "slower"
