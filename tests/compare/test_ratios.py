"""Ratios and their intervals: known values, and what holds for any sample."""

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from mfuscope.compare import ratios
from mfuscope.compare.ratios import Compared, Floats, Repeats, compare_pages
from mfuscope.compare.verdicts import verdict

VALUES = st.floats(1e-3, 1e6)
REPEATS = arrays(np.float64, st.integers(2, 6), elements=VALUES)
PAGES = st.lists(st.tuples(REPEATS, REPEATS), min_size=1, max_size=5)


def sample(*values: float | None) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def compare_repeats(reference: Floats, variant: Floats) -> Compared:
    """Of a plain quantity."""
    return ratios.compare_repeats(Repeats.of(reference), Repeats.of(variant))


def over_pages(pages: Iterable[tuple[Floats, Floats]]) -> Compared:
    return compare_pages(
        (Repeats.of(reference), Repeats.of(variant)) for reference, variant in pages
    )


def ends(found: Compared) -> tuple[float, float]:
    assert found.ci95_low is not None
    assert found.ci95_high is not None
    return found.ci95_low, found.ci95_high


def test_a_page_has_the_ratio_of_its_means_and_welch_s_interval() -> None:
    reference, variant = sample(90.0, 100.0, 110.0, 104.0), sample(48.0, 50.0, 52.0)
    found = compare_repeats(reference, variant)
    assert (found.reference_mean, found.variant_mean, found.n) == (101.0, 50.0, 3)
    assert found.ratio == pytest.approx(50.0 / 101.0)
    # Welch's test of the samples, each divided by its mean: it has these errors and this freedom.
    welch = stats.ttest_ind(variant / 50.0, reference / 101.0, equal_var=False)
    interval = welch.confidence_interval(0.95)
    half = (interval.high - interval.low) / 2
    assert ends(found) == pytest.approx(
        (50.0 / 101.0 * math.exp(-half), 50.0 / 101.0 * math.exp(half))
    )


def test_pages_are_paired_and_their_ratio_is_that_of_the_sums() -> None:
    # Every page takes half, whatever it takes: the spread between pages drops out.
    pages = [(sample(ms, ms), sample(ms / 2, ms / 2)) for ms in (10.0, 100.0, 1000.0)]
    found = over_pages(pages)
    assert (found.reference_mean, found.variant_mean) == (370.0, 185.0)
    assert found.ratio == pytest.approx(0.5)
    assert found.n == 3
    assert ends(found) == (found.ratio, found.ratio)
    pages.append((sample(50.0), sample(200.0)))
    found = over_pages(pages)
    old, new = np.array([10.0, 100.0, 1000.0, 50.0]), np.array([5.0, 50.0, 500.0, 200.0])
    assert found.ratio == pytest.approx(new.sum() / old.sum())
    differences = new / new.mean() - old / old.mean()
    half = stats.t.ppf(0.975, 3) * stats.sem(differences)
    assert ends(found) == pytest.approx((found.ratio * np.exp(-half), found.ratio * np.exp(half)))


def test_a_single_page_is_compared_by_its_repeats() -> None:
    page = sample(9.0, 10.0, 11.0), sample(19.0, 20.0, 22.0)
    assert over_pages([page]) == compare_repeats(*page)
    nothing = sample(None, None), sample(1.0, 2.0)
    assert over_pages([nothing, page]) == compare_repeats(*page)


@pytest.mark.parametrize(
    ("reference", "variant", "ratio", "n"),
    [
        (sample(2.0), sample(3.0), 1.5, 1),  # one value has no spread
        (sample(2.0, 2.0), sample(3.0), 1.5, 1),
        (sample(2.0, None), sample(3.0, 3.0), 1.5, 1),
        (sample(), sample(3.0, 3.0), None, 0),
        (sample(None, None), sample(3.0, 3.0), None, 0),
        (sample(2.0, 2.0), sample(0.0, 3.0), None, 0),
        (sample(-2.0, 4.0), sample(3.0, 3.0), None, 0),
    ],
)
def test_absent_values_and_zeros_have_no_interval(
    reference: Floats, variant: Floats, ratio: float | None, n: int
) -> None:
    found = compare_repeats(reference, variant)
    assert (found.ratio, found.ci95_low, found.ci95_high, found.n) == (ratio, None, None, n)


def test_absent_means_stay_absent() -> None:
    assert compare_repeats(sample(), sample(3.0)).reference_mean is None
    assert compare_repeats(sample(0.0), sample(3.0)).reference_mean == 0.0
    assert over_pages([]) == Compared()
    assert over_pages([(sample(None), sample(1.0))]) == Compared()
    zeros = over_pages([(sample(0.0), sample(1.0))] * 2)
    assert (zeros.reference_mean, zeros.variant_mean, zeros.ratio, zeros.n) == (0.0, 1.0, None, 0)


def test_without_any_spread_the_interval_is_the_ratio() -> None:
    # 0.1 is no binary fraction: the means of two and of three of them differ in the last digit.
    for reference, variant in product((sample(0.1, 0.1), sample(0.1, 0.1, 0.1)), repeat=2):
        found = compare_repeats(reference, 3 * variant)
        assert ends(found) == (found.ratio, found.ratio)
        assert found.ratio == pytest.approx(3.0, rel=1e-12)


@given(REPEATS, REPEATS)
def test_swapping_the_sets_inverts_ratio_and_interval(reference: Floats, variant: Floats) -> None:
    check_inverse(compare_repeats(reference, variant), compare_repeats(variant, reference))


@given(PAGES)
def test_swapping_the_sets_of_pages_inverts_ratio_and_interval(pages: Any) -> None:
    check_inverse(over_pages(pages), over_pages([(v, r) for r, v in pages]))


def check_inverse(one: Compared, other: Compared) -> None:
    assert one.ratio is not None
    assert (one.reference_mean, one.variant_mean) == (other.variant_mean, other.reference_mean)
    assert one.n == other.n
    assert other.ratio == pytest.approx(1 / one.ratio)
    if one.ci95_low is None or other.ci95_low is None:
        assert one.ci95_low == other.ci95_low
        return
    low, high = ends(one)
    assert ends(other) == pytest.approx((1 / high, 1 / low), rel=1e-6)


@given(REPEATS, REPEATS, st.floats(1e-3, 1e3))
def test_units_change_nothing(reference: Floats, variant: Floats, unit: float) -> None:
    one, other = compare_repeats(reference, variant), compare_repeats(unit * reference, variant)
    assert one.ratio is not None
    assert other.ratio == pytest.approx(one.ratio / unit)
    assume(one.ci95_low is not None)
    assert ends(other) == pytest.approx([end / unit for end in ends(one)], rel=1e-6)


@given(PAGES)
def test_the_interval_holds_the_ratio(pages: Any) -> None:
    for found in (over_pages(pages), *(compare_repeats(*page) for page in pages)):
        assert found.ratio is not None
        assert 0 < found.ratio < math.inf
        if found.ci95_low is not None:
            low, high = ends(found)
            assert 0 <= low <= found.ratio <= high < math.inf


@given(REPEATS)
def test_a_set_beside_itself_shows_no_difference(values: Floats) -> None:
    found = compare_repeats(values, values)
    assert found.ratio == 1.0
    low, high = ends(found)
    assert low <= 1 <= high


@given(st.lists(REPEATS, min_size=2, max_size=4), st.permutations(range(4)))
def test_the_order_of_pages_and_repeats_does_not_matter(pages: Any, order: list[int]) -> None:
    pairs = [(values, values[::-1] * (2 + place)) for place, values in enumerate(pages)]
    moved = [pairs[place] for place in order if place < len(pairs)]
    one, other = over_pages(pairs), over_pages([(r[::-1], v[::-1]) for r, v in moved])
    assert one.ratio == pytest.approx(other.ratio)
    assert ends(one) == pytest.approx(ends(other))


RATES = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=5)


@given(RATES, RATES)
def test_a_rate_of_equal_work_is_the_inverse_of_its_time(reference: Any, variant: Any) -> None:
    """Ratio and interval, of a page's repeats and over pages."""
    n = min(len(reference), len(variant))
    pairs = [
        tuple(np.array(one)[:n] for one in zip(*runs, strict=True)) for runs in (reference, variant)
    ]
    (_, old), (_, new) = pairs
    work = np.full(n, 7.0)
    rate = ratios.compare_repeats(Repeats(work, old), Repeats(work, new))
    assert rate.ratio == pytest.approx(old.sum() / new.sum())
    check_inverse(
        replace(rate, reference_mean=None, variant_mean=None), inverse(compare_repeats(old, new))
    )
    pages = [(old[[i]], new[[i]]) for i in range(n)]
    of_rates = compare_pages(
        (Repeats(work[[i]], old[[i]]), Repeats(work[[i]], new[[i]])) for i in range(n)
    )
    check_inverse(
        replace(of_rates, reference_mean=None, variant_mean=None), inverse(over_pages(pages))
    )


def inverse(found: Compared) -> Compared:
    """Without the values, which differ by the work."""
    return replace(found, reference_mean=None, variant_mean=None)


def test_intervals_cover_the_true_ratio_as_often_as_they_say() -> None:
    random, held = np.random.default_rng(7), 0
    for _ in range(600):
        reference, variant = random.normal(100.0, 8.0, 4), random.normal(60.0, 2.0, 3)
        low, high = ends(compare_repeats(reference, variant))
        held += low <= 0.6 <= high
    assert 0.92 <= held / 600 <= 0.98


def test_intervals_over_pages_cover_the_true_ratio_as_often_as_they_say() -> None:
    """Of pages that take up to three times as long as others; the variant takes 0.6 of each."""
    random, held = np.random.default_rng(11), 0
    for _ in range(600):
        pages = np.exp(random.normal(4.0, 0.4, 5))
        reference = pages * np.exp(random.normal(0.0, 0.1, 5))
        variant = 0.6 * pages * np.exp(random.normal(0.0, 0.1, 5))
        low, high = ends(
            over_pages((sample(r), sample(v)) for r, v in zip(reference, variant, strict=True))
        )
        held += low <= 0.6 <= high
    assert 0.91 <= held / 600 <= 0.97


@pytest.mark.parametrize("slow", [1.0, 1.4])
def test_an_interval_over_pages_holds_what_each_of_few_repeats_showed(slow: float) -> None:
    """All pages agree that one repeat of the variant met a slower host."""
    pages = [
        (np.array([100.0, 100.0]) * size, np.array([90.0, 90.0 * slow]) * size * jitter)
        for size, jitter in ((1.0, 1.01), (2.0, 0.99), (3.0, 1.0))
    ]
    found = over_pages(pages)
    low, high = ends(found)
    whole = [sum(v[i] for _, v in pages) / sum(r[i] for r, _ in pages) for i in (0, 1)]
    assert low <= min(whole) * (1 + 1e-9)
    assert high >= max(whole) * (1 - 1e-9)
    assert verdict("page_ms", found) == ("faster" if slow == 1 else "no difference shown")


def test_from_four_repeats_on_their_own_interval_counts() -> None:
    """Log ratios of -0.1 and 0.1 in turn: Student's t of 3 x 0.11547 / 2, by hand."""
    repeats = np.exp([-0.1, 0.1, -0.1, 0.1])
    found = over_pages([(np.ones(4) * size, repeats * size) for size in (1.0, 2.0)])
    low, high = ends(found)
    assert math.log(high / low) / 2 == pytest.approx(3.182446 * 0.115470 / 2, rel=1e-4)


def test_repeats_that_do_not_pair_leave_the_interval_over_pages() -> None:
    pages = [(np.array([10.0, 20.0]), np.array([5.0])), (np.array([20.0, 40.0]), np.array([10.0]))]
    assert ends(over_pages(pages)) == pytest.approx((1 / 3, 1 / 3))
