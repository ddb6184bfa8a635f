"""The page as a record: every text that its Markdown and its HTML show."""

from dataclasses import dataclass
from typing import Literal

from mfuscope.report.data import ReportData
from mfuscope.report.formats import listing, plural
from mfuscope.report.notices import stand_in
from mfuscope.report.stakeholder.certainty import confidence
from mfuscope.report.stakeholder.setups import (
    Row,
    Setup,
    pages_per_hour,
    rows,
    setups,
)
from mfuscope.report.stakeholder.steps import Step, steps
from mfuscope.report.stakeholder.words import bottom_line, parts, used
from mfuscope.report.tried import is_batch
from mfuscope.report.wording import answers, gaps_statement

#: Setups whose time is shown in its parts: the reference and the fastest.
MOST_TIMED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OnePage:
    """What the page says.

    Attributes:
        doubts: what keeps the numbers from being taken at face value, a line each.
        speed: the numbers of most interest in a sentence.
        level, certainty: how sure the numbers are, and why.
        measured: what was measured, on what, when.
        setups: the columns of `rows`.
        notes: what belongs to the numbers.
        timed: the setups whose times `parts` and `reasons` are of.
        parts: the largest parts of a page's time, with time and share in each of `timed`.
        reasons: what limits the speed, a sentence or two for each of `timed`.
        used: how much of the device's speed was used.
    """

    title: str
    doubts: tuple[str, ...]
    speed: str
    level: Literal["high", "medium", "low"]
    certainty: str
    measured: str
    setups: tuple[Setup, ...]
    rows: list[Row]
    notes: list[str]
    steps: list[Step]
    timed: list[Setup]
    parts: list[tuple[str, tuple[str, ...]]]
    reasons: list[str]
    used: str
    nothing: str = "Nothing that was measured suggests an obvious next step."


def one_page(data: ReportData) -> OnePage:
    """Compose the page."""
    shown = setups(data)
    reference = data.reference
    timed = [
        one
        for one in shown
        if not one.refused and (one.tried is None or not is_batch(data, one.tried))
    ][:MOST_TIMED]
    level, certainty = confidence(data, reference)
    return OnePage(
        title=f"How fast {reference.model.name} reads pages",
        doubts=_doubts(data),
        speed=_speed(data, shown),
        level=level,
        certainty=certainty[0].upper() + certainty[1:],
        measured=_measured(data),
        setups=shown,
        rows=rows(data, shown),
        notes=_notes(data, shown),
        steps=steps(data, shown),
        timed=timed,
        parts=parts(timed),
        reasons=[_named(timed, one, bottom_line(data, one.variant)) for one in timed],
        used=used(data, timed),
    )


def _doubts(data: ReportData) -> tuple[str, ...]:
    lines = [gaps_statement(data), _dummies(data), *(one.text for one in stand_in(data))]
    return tuple(filter(None, lines))


def _dummies(data: ReportData) -> str:
    """That a model ran on random numbers; empty where none did."""
    names = [v.name for v in data.variants if v.model.weights == "dummy"]
    if not names:
        return ""
    which = "" if len(names) == len(data.variants) else f" in {listing(names)}"
    return (
        f"Dummy weights: random numbers in place of the trained ones{which}. Times are real; the "
        "text that the model writes means nothing."
    )


def _speed(data: ReportData, shown: tuple[Setup, ...]) -> str:
    reference, *others = shown
    if reference.refused:
        return f"{reference.name} gets no number: {reference.refused}."
    text = _about(reference, f"pages an hour as it is, with answers of {answers(data)}")
    best = next((one for one in others if not one.refused), None)
    if best is not None:
        text += f", {_about(best, f'with {best.name}')}"
    return f"A{text[1:]}."


def _about(setup: Setup, what: str) -> str:
    """``about 2,200 pages an hour as it is (1,900 to 2,600)``."""
    figure = pages_per_hour(setup.variant)
    return f"about {figure.text} {what}{figure.ends and f' ({figure.ends})'}"


def _measured(data: ReportData) -> str:
    pages, often = len(data.pages), data.repeats
    first, last = data.survey.first[:10], data.survey.last[:10]
    when = first if first == last else f"{first} to {last}"
    each = (
        "measured once" if often == 1 else f"{'each ' if pages > 1 else ''}measured {often} times"
    )
    return (
        f"{data.reference.model.name} on {data.hardware.device.name}, {when}: "
        f"{plural(pages, 'page')}, {each}, with answers of {answers(data)} (a token is a piece of "
        "a word)."
    )


def _notes(data: ReportData, shown: tuple[Setup, ...]) -> list[str]:
    refused = [f"{one.name} gets no number: {one.refused}." for one in shown[1:] if one.refused]
    if all(one.refused for one in shown):
        return [*refused, "No number is given, as none holds."]
    return [
        *refused,
        "Ranges are 95 % sure, for pages like these. Counted is the model's time on the device; "
        "reading files comes on top.",
    ]


def _named(shown: list[Setup], one: Setup, sentence: str) -> str:
    return sentence if len(shown) == 1 else f"{one.name}: {sentence}"
