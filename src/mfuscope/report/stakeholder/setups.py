"""The ways to run the model that are shown side by side, and what each of them reaches."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mfuscope.report.answers import page_ms
from mfuscope.report.data import ReportData, Tried, Variant
from mfuscope.report.formats import ABSENT
from mfuscope.report.publishable import breaches, log_interval, withheld
from mfuscope.report.stakeholder.digits import Figure, figure
from mfuscope.report.tried import fastest, fastest_with_same_tokens, highest_throughput

_J_PER_KWH = 3.6e6
_S_PER_HOUR = 3600.0
# The length of answers that speeds are extrapolated to: of a page full of text.
_LONG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A way to run the model: a column of the page.

    Attributes:
        role: what it is here, and how many pages it takes at once.
        tried: None for the reference.
        refused: why it gets no number; empty where it has some.
    """

    role: str
    variant: Variant
    tried: Tried | None
    refused: str

    @property
    def name(self) -> str:
        """The name of its variant."""
        return self.variant.name


@dataclass(frozen=True, slots=True)
class Row:
    """A quantity of every setup."""

    label: str
    figures: tuple[Figure, ...]


def setups(data: ReportData) -> tuple[Setup, ...]:
    """The reference, the fastest variants that do its work, and the batch of most pages."""
    found = [_setup(data, "As it is", data.reference, None)]
    sure, best, batch = fastest_with_same_tokens(data), fastest(data), highest_throughput(data)
    if sure is not None:
        found.append(_setup(data, "Fastest, same answers", sure.variant, sure))
    if best is not None and best is not sure:
        found.append(_setup(data, "Fastest, answers to be checked", best.variant, best))
    if batch is not None:
        found.append(_setup(data, "Most pages", batch.variant, batch))
    return tuple(found)


def _setup(data: ReportData, role: str, variant: Variant, tried: Tried | None) -> Setup:
    copies = f", {variant.batch_size} copies at once" if variant.batch_size > 1 else ""
    broken = [one for one in breaches(data, variant) if one.of == "page"]
    return Setup(
        role=f"{role}{copies}",
        variant=variant,
        tried=tried,
        refused="; ".join(f"{one.rule}: {one.text}" for one in broken),
    )


def rows(data: ReportData, shown: Iterable[Setup]) -> list[Row]:
    """What each setup reaches. Rows that no setup has a number for are left out."""
    cost = data.settings.get("cost_per_hour")
    made: list[tuple[str, Callable[[Variant], Figure]]] = [
        ("Pages an hour", pages_per_hour),
        ("Seconds until a page is done", _seconds),
        ("Pages per kWh of the device", _pages_per_kwh),
    ]
    if cost is not None:
        label = f"Pages per unit of currency, at {cost:,g} an hour"
        made.append((label, lambda variant: _rate(variant, _S_PER_HOUR / cost)))
    found = [Row(label, tuple(_figure(of, one) for one in shown)) for label, of in made]
    long = f"Pages an hour with answers of {_LONG:,} tokens (a page full of text), extrapolated"
    found.insert(1, Row(long, tuple(_long_answers(data, one) for one in shown)))
    return [row for row in found if any(one.text != ABSENT for one in row.figures)]


def _figure(of: Callable[[Variant], Figure], setup: Setup) -> Figure:
    return Figure(ABSENT) if setup.refused else of(setup.variant)


def pages_per_hour(variant: Variant) -> Figure:
    """Total pages / total time on the device; every copy of a batch counts."""
    return _rate(variant, _S_PER_HOUR)


def _rate(variant: Variant, scale: float) -> Figure:
    stat = variant.headline["pages_per_s"]
    return _of(stat.value, stat.total_ci95_low, stat.total_ci95_high, lambda rate: scale * rate)


def _seconds(variant: Variant) -> Figure:
    """From the beginning of prefill to the last token; of a batch until all its pages are done."""
    stat = variant.headline["pages_per_s"]
    copies = variant.batch_size
    return _of(stat.value, stat.total_ci95_high, stat.total_ci95_low, lambda rate: copies / rate)


def _pages_per_kwh(variant: Variant) -> Figure:
    """Pages / energy: the ends of the energy's interval, turned around."""
    stat = variant.headline["energy_per_page_j"]
    if not stat.mean:
        return Figure(ABSENT)
    low, high = log_interval(stat) or (None, None)
    return _of(stat.mean, high, low, lambda joules: _J_PER_KWH / joules)


def _of(
    value: float | None, low: float | None, high: float | None, of: Callable[[float], float]
) -> Figure:
    if not value:
        return Figure(ABSENT)
    return figure(of(value), None if not low else of(low), None if not high else of(high))


def _long_answers(data: ReportData, setup: Setup) -> Figure:
    """Pages an hour with the answers of full pages, extrapolated."""
    variant = setup.variant
    known = not withheld(data, variant, "decode") and _LONG in variant.answer.flops
    ms = page_ms(variant, _LONG) if known and variant.answer.most < _LONG else None
    if ms is None:
        return Figure(ABSENT)
    return Figure(f"about {figure(_S_PER_HOUR * 1e3 / ms, None, None).text} or fewer")
