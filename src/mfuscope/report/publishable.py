"""Rules of validity: which of a variant's numbers may stand in the headline.

A number that breaks one is not shown; the reason takes its place, with what would mend it. The
rules are in docs/measurement.md, "What may stand in the headline".
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mfuscope.report.check import Check, capped
from mfuscope.report.data import ReportData, Stat, Variant
from mfuscope.report.formats import listing, milliseconds, number, plural

#: Fewest timed passes of a page, over all its repeats.
LEAST_PASSES = 3
#: Fewest decode steps of a page, of what is said of decode alone: TPOT, tokens/s, MBU.
LEAST_STEPS = 8
#: Largest ratio of the two ends of the page time's 95 % interval.
WIDEST = 2.0
#: Throttle reasons that only say which clocks somebody set.
HARMLESS = frozenset({"applications_clocks_setting"})

Rule = Literal["too short", "too uncertain", "throttled"]
#: What a broken rule withholds: every headline number, or those of decode.
Scope = Literal["page", "decode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A rule that a variant breaks: by what, and what would mend it."""

    rule: Rule
    of: Scope
    text: str
    remedy: str

    @property
    def sentence(self) -> str:
        """Rule, fact and remedy."""
        return f"{self.rule}: {self.text}; {self.remedy}"


def page_interval(variant: Variant) -> tuple[float, float] | None:
    """The 95 % interval of the time of a page in ms, of a batch that of all its copies.

    Over pages, or over the repeats of a single page; of the logarithm, as that of a rate. None
    without a second page or repeat.
    """
    return log_interval(variant.headline["page_ms"])


def log_interval(stat: Stat) -> tuple[float, float] | None:
    """The 95 % interval of a mean, made of logarithms as those of rates are (`metrics.totals`)."""
    if not stat.mean or stat.ci95_high is None:
        return None
    half = stat.ci95_high / stat.mean - 1
    return stat.mean * math.exp(-half), stat.mean * math.exp(half)


def noise_ms(variant: Variant) -> float | None:
    """Half the width of the interval of the time of one page; None where there is none."""
    ends = page_interval(variant)
    return None if ends is None else (ends[1] - ends[0]) / 2 / variant.batch_size


def breaches(data: ReportData, variant: Variant) -> list[Breach]:
    """The rules that a variant breaks."""
    return [
        *_passes(data, variant),
        *_spread(variant),
        *_throttled(data, variant),
        *_steps(variant),
    ]


def broken_rules(data: ReportData, variant: Variant) -> list[str]:
    """The rules that withhold every headline number of a variant, each once."""
    return list(dict.fromkeys(one.rule for one in breaches(data, variant) if one.of == "page"))


def withheld(data: ReportData, variant: Variant, of: Scope) -> str:
    """Why a variant's headline numbers are not shown; empty where they are.

    Args:
        of: those of the page (prefill included), or of decode.
    """
    scopes = ("page",) if of == "page" else ("page", "decode")
    return "; ".join(one.sentence for one in breaches(data, variant) if one.of in scopes)


def comparable(data: ReportData, variant: Variant) -> bool:
    """Whether a variant may be held against another one.

    Unsteady times may: their ratio has an interval of its own, which says how unsteady they are.
    """
    return all(one.of == "decode" or one.rule == "too uncertain" for one in breaches(data, variant))


def valid_headline(data: ReportData) -> Check:
    """The check: whether every variant's headline numbers may be shown."""
    title = "Headline numbers are valid"
    details = [
        f"{variant.name}: {'decode is ' if one.of == 'decode' else ''}{one.sentence}"
        for variant in data.variants
        for one in breaches(data, variant)
    ]
    rules = (
        f"at least {LEAST_PASSES} timed passes of each page, at least {LEAST_STEPS} decode steps a "
        f"page, a 95 % interval of the page time within a factor of {number(WIDEST, 1)}, and no "
        "throttling"
    )
    if not details:
        return Check(title=title, verdict="ok", text=f"Every variant has {rules}.")
    text = f"The rules ask for {rules}. Numbers that break one are not shown:"
    return Check(title=title, verdict="warning", text=text, details=capped(details))


def tally(checks: Iterable[Check]) -> str:
    """How many checks there are of each verdict."""
    found = Counter(check.verdict for check in checks)
    order: tuple[Literal["warning", "unknown", "ok"], ...] = ("warning", "unknown", "ok")
    words = {"warning": "warnings" if found["warning"] > 1 else "warning"}
    return listing([f"{found[one]} {words.get(one, one)}" for one in order if found[one]])


def _passes(data: ReportData, variant: Variant) -> Iterator[Breach]:
    passes = data.survey.passes
    own = {
        page.image: passes[variant.name, page.image]
        for page in data.pages
        if (variant.name, page.image) in passes
    }
    image = min(own, key=own.__getitem__)
    if own[image] < LEAST_PASSES:
        yield Breach(
            rule="too short",
            of="page",
            text=f"{plural(own[image], 'timed pass', 'timed passes')} of {image}",
            remedy=f"repeats × timed_passes must be {LEAST_PASSES} or more",
        )


def _steps(variant: Variant) -> Iterator[Breach]:
    steps = variant.answer.mean - 1
    if 0 < steps < LEAST_STEPS:
        yield Breach(
            rule="too short",
            of="decode",
            text=f"{number(steps, 1)} decode steps a page",
            remedy=f"answers need {LEAST_STEPS + 1} new tokens or more (max_new_tokens)",
        )


def _spread(variant: Variant) -> Iterator[Breach]:
    ends = page_interval(variant)
    if ends is None or ends[1] <= WIDEST * ends[0]:
        return
    n = variant.headline["pages_per_s"].n
    factor = ends[1] / ends[0]
    reach = (
        f"from {milliseconds(ends[0])} to {milliseconds(ends[1])}"
        if factor < 100
        else "over more than a factor of 100"
    )
    more = "pages" if variant.over == "page" else "repeats"
    yield Breach(
        rule="too uncertain",
        of="page",
        text=f"over {plural(n, variant.over)} the 95 % interval of the page time reaches {reach}",
        remedy=f"measure more {more}, or on a quieter host",
    )


def _throttled(data: ReportData, variant: Variant) -> Iterator[Breach]:
    found = {
        reason: len(runs)
        for (name, reason), runs in data.survey.throttled.items()
        if name == variant.name and reason not in HARMLESS
    }
    if found:
        told = listing([f"{reason} in {plural(runs, 'run')}" for reason, runs in found.items()])
        yield Breach(
            rule="throttled",
            of="page",
            text=told,
            remedy="cool the device, raise its power limit, or lock lower clocks (nvidia-smi -lgc)",
        )
