"""Formats of numbers."""

import pytest

from mfuscope.report import formats


@pytest.mark.parametrize(
    ("mean", "std", "scale", "text"),
    [
        (143.21, 2.34, 1, "143.2 ± 2.3"),
        (143.21, None, 1, "143"),
        (1234.5, 56.7, 1, "1,234 ± 57"),
        (0.000061, 0.0000012, 100, "0.00610 ± 0.00012"),
        (50.0, 0.0, 1, "50.0 ± 0"),
        (123.4, 0.0001, 1, "123.4 ± <0.1"),
        (0.0, 0.0, 1, "0 ± 0"),
        (9.996, None, 1, "10.0"),
        (1000.0, 2000.0, 1, "1,000 ± 2,000"),
    ],
)
def test_mean_and_spread(mean: float, std: float | None, scale: float, text: str) -> None:
    assert formats.spread(mean, std, scale) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(-4.71, 24.82, "−4.7 to 24.8"), (-0.001, 100.0, "0 to 100"), (5.0, 5.0, "5.00 to 5.00")],
)
def test_interval(low: float, high: float, text: str) -> None:
    assert formats.interval(low, high) == text


def test_numbers_with_units() -> None:
    plain = [formats.milliseconds(571.2), formats.milliseconds(15_457), formats.percent(0.00006)]
    plain += [formats.count(3_336_106_240), formats.size(25_276_502_016), formats.plural(1, "page")]
    assert [text.replace("\u00a0", " ") for text in plain] == [
        "571 ms",
        "15.5 s",
        "0.0060 %",
        "3.34 B",
        "25.3 GB",
        "1 page",
    ]
    assert formats.listing(["a", "b", "c"]) == "a, b and c"
