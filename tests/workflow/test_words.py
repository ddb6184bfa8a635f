"""Numbers and times in words."""

import pytest

from mfuscope.workflow.words import amount, counted, rough_duration


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.1, "1 s"),
        (12.4, "12 s"),
        (56, "1 min"),
        (68, "1 min 10 s"),
        (594, "9 min 50 s"),
        (596, "10 min"),
        (3571, "1 h 00 min"),
        (7510, "2 h 05 min"),
    ],
)
def test_rough_duration(seconds: float, expected: str) -> None:
    assert rough_duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0512, "0.051"),
        (1.03, "1.0"),
        (9.94, "9.9"),
        (9.96, "10"),
        (83.4, "83"),
        (5703.6, "5,704"),
    ],
)
def test_amount(value: float, expected: str) -> None:
    assert amount(value) == expected


def test_counted() -> None:
    assert [counted(n, "page") for n in (0, 1, 2)] == ["0 pages", "1 page", "2 pages"]
