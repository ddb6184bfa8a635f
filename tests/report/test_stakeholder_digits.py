"""Numbers keep the digits that their interval allows."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.report.stakeholder.digits import MOST, figure


@pytest.mark.parametrize(
    ("value", "low", "high", "text", "ends"),
    [
        (2224, 1852, 2581, "2,200", "1,900 to 2,600"),
        (17125, 15667, 18719, "17,100", "15,700 to 18,700"),
        (1.6185, 1.347, 1.944, "1.62", "1.35 to 1.94"),
        (7.70, 6.44, 9.20, "7.7", "6.4 to 9.2"),
        (8.0, 6.33, 10.11, "8.0", "6.3 to 10.1"),
        (100_000, 60_000, 160_000, "100,000", "60,000 to 160,000"),
        (1619.4, 1619.1, 1619.7, "1,620", ""),
        (4.0, 4.0, 4.0, "4.00", ""),
        (1234.5, None, None, "1,200", ""),
        (0.04321, None, 0.05, "0.043", ""),
        (9.996, 9.9, 10.1, "10.00", "9.90 to 10.10"),
        (5.0, 0.2, 120.0, "5.0", "0.2 to 120.0"),
    ],
)
def test_digits_follow_the_interval(
    value: float, low: float | None, high: float | None, text: str, ends: str
) -> None:
    found = figure(value, low, high)
    assert (found.text, found.ends) == (text, ends)
    assert found.line == (f"{text} ({ends})" if ends else text)


def _read(text: str) -> float:
    return float(text.replace(",", ""))


@given(
    st.floats(1e-3, 1e7),
    st.floats(1e-6, 2.0),
    st.floats(1e-6, 2.0),
)
def test_what_is_written_is_what_was_measured(value: float, below: float, above: float) -> None:
    """No end becomes 0, none is off by more than half of what is uncertain."""
    low, high = value * math.exp(-below), value * math.exp(above)
    found = figure(value, low, high)
    ends = found.ends.split(" to ") if found.ends else [found.text] * 2
    read = [_read(text) for text in (ends[0], found.text, ends[1])]
    assert read == sorted(read)
    assert read[0] > 0
    unit = max((high - low) / 2 / 2.5, value / 10 ** (MOST - 1))
    for written, true in zip(read, (low, value, high), strict=True):
        assert abs(written - true) <= unit / 2 * (1 + 1e-9)
