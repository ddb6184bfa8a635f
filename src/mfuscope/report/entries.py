"""An entry of what to try, from a variant that was tried or from recommendations."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mfuscope.compare.ratios import Compared
from mfuscope.compare.variants import repeat_means
from mfuscope.compare.verdicts import NO_DIFFERENCE
from mfuscope.report.best import times, tokens
from mfuscope.report.data import ReportData, Tried, Variant
from mfuscope.report.formats import milliseconds, number, plural
from mfuscope.report.recommendations import Recommendation
from mfuscope.report.recommendations.advice import (
    Experiment,
    bound_text,
    change,
    gain_text,
    proof_text,
    share,
    share_interval,
    untested_text,
)
from mfuscope.report.side_by_side import IDENTICAL, changes_text
from mfuscope.report.wording import page_of

#: Recommendations, each with the variant that it is for.
Group = list[tuple[Variant, Recommendation]]
#: `measured`: the interval of the gain leaves out 0. `bound`: not tried, the gain is at most that.
Confidence = Literal[
    "measured", "measured, no difference shown", "measured, too few to tell", "bound", ""
]

_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z`])")


@dataclass(frozen=True, slots=True)
class Part:
    """Evidence of one kind: what it is about, and its facts."""

    title: str
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A thing to try.

    Attributes:
        base: the variant whose page it shortens.
        gain_ms: what it takes off one page in ms: measured, else at most; None where not known.
        low, high: a measured gain in ms at the ends of its ratio's 95 % interval and the mean of
            `base`; None where there is none.
        text: one sentence; `setting` are the settings that do it, empty where none does.
        parts: further evidence: of each recommendation, or of each variant, that it is for.
        gain, confidence: in words; empty for what only makes numbers more certain. The confidence
            of a gain that is not known is empty, too.
    """

    title: str
    base: str
    text: str
    setting: str
    evidence: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    gain_ms: float | None = None
    low: float | None = None
    high: float | None = None
    gain: str = ""
    confidence: Confidence = ""


def rule_entry(data: ReportData, experiment: Experiment, group: Group) -> Entry:
    """An entry of recommendations that one variant measured, or of a single one."""
    (variant, one), *others = group
    first, *more = _SENTENCE.split(one.text)
    evidence = [*filter(None, [" ".join(more)]), *_facts(one)]
    proof, page_ms = one.proof, variant.ms_per_page
    confidence: Confidence
    if proof is not None:
        shown: Mapping[str, Confidence] = {
            "faster": "measured",
            NO_DIFFERENCE: "measured, no difference shown",
        }
        confidence = shown.get(proof.verdict, "measured, too few to tell")
        gain = _gain(proof.gain_ms, proof.ci95_low, proof.ci95_high, page_ms)
        setting = changes_text(proof.changes)
    elif one.gain_ms is None:
        confidence, gain, setting = "", "gain not known", experiment.snippet(variant, one)
    else:
        confidence, gain = "bound", f"at most {_gain(one.gain_ms, None, None, page_ms)}"
        setting = experiment.snippet(variant, one)
    return Entry(
        title=one.title,
        base=variant.name,
        text=first,
        setting=setting,
        evidence=_sentences(evidence),
        parts=tuple(Part(other.title, _sentences(_facts(other))) for _, other in others),
        gain_ms=one.gain_ms if proof is None else proof.gain_ms,
        low=None if proof is None else proof.ci95_low,
        high=None if proof is None else proof.ci95_high,
        gain=gain + _on_top(data, variant),
        confidence=confidence,
    )


def _facts(one: Recommendation) -> list[str]:
    return [*one.evidence, *filter(None, (proof_text(one), untested_text(one)))]


def _sentences(lines: Iterable[str]) -> tuple[str, ...]:
    """Lines that each begin with a capital."""
    return tuple(f"{line[0].upper()}{line[1:]}" for line in lines)


def _gain(gain_ms: float, low: float | None, high: float | None, page_ms: float) -> str:
    """``−840 ms a page, 76 % less``, with its interval where it has one."""
    text = f"{change(gain_ms)} a page"
    if page_ms and gain_ms > 0:
        text += f", {share(gain_ms, page_ms)} less"
    if not page_ms or low is None or high is None or high - low < 1e-6 * page_ms:
        return text
    return f"{text} ({share_interval(low, high, page_ms)})"


def _on_top(data: ReportData, variant: Variant) -> str:
    return "" if variant is data.reference else f", on top of {variant.name}"


def use_entry(data: ReportData, one: Tried, found: Group) -> Entry:
    """The entry of a best variant; what rules found for the reference is its evidence."""
    batch = one.variant.batch_size != data.reference.batch_size
    reference = data.reference.ms_per_page
    compared = one.compared["pages_per_s" if batch else "page_ms"]
    gain_ms, low, high = _gains(compared, reference, inverse=batch)
    title = f"Use {one.variant.name}"
    if batch:
        title += f" for throughput: {plural(one.variant.batch_size, 'copy', 'copies')} at once"
        what = f"A page's share of the batch takes {milliseconds(one.variant.ms_per_page)}"
    else:
        what = f"{page_of(one.variant).capitalize()} takes {milliseconds(one.variant.page_ms)}"
    facts = [f"It is {IDENTICAL}."] if batch else []
    facts += filter(None, [_repeat_by_repeat(data, one)])
    if one.variant.compile_s is not None:
        facts.append(f"Compilation takes {one.variant.compile_s:,.0f} s in each new process.")
    parts = _measured_together(found)
    if not parts:
        facts.append(f"comparison.csv has {one.variant.name} page by page.")
    return Entry(
        title=title,
        base=data.reference.name,
        text=f"{what} instead of {milliseconds(reference)}{tokens(one)}.",
        setting=changes_text(one.changes),
        evidence=tuple(facts),
        parts=tuple(parts),
        gain_ms=gain_ms,
        low=low,
        high=high,
        gain=times(compared, "as many pages/s") if batch else _gain(gain_ms, low, high, reference),
        confidence="measured",
    )


def _repeat_by_repeat(data: ReportData, one: Tried) -> str:
    """How many times as fast each repeat is; empty where the sets have other numbers of repeats."""
    before, after = (
        repeat_means(data.samples[variant.name], "page_ms")
        for variant in (data.reference, one.variant)
    )
    if len(before) < 2 or len(before) != len(after):
        return ""
    copies = one.variant.batch_size / data.reference.batch_size
    ratios = [copies * old / new for old, new in zip(before, after, strict=True)]
    what = "as many pages/s" if copies != 1 else "as fast"
    least, most = number(min(ratios)), number(max(ratios))
    if least == most:
        return f"In every repeat {least} times {what}."
    return f"Repeat by repeat: {least} to {most} times {what}."


def _measured_together(found: Group) -> list[Part]:
    """Recommendations for one stage that one variant follows: it measured them together."""
    groups: dict[tuple[str, str], Group] = {}
    for variant, one in found:
        by = one.proof.variant if one.proof is not None else one.title
        groups.setdefault((by, one.metric or ""), []).append((variant, one))
    parts = []
    for group in groups.values():
        variant, first = group[0]
        gain = gain_text(first, variant.ms_per_page)
        if len(group) == 1:
            parts.append(Part(f"{first.title}: {gain}", _sentences(_facts(first))))
            continue
        titles = "; ".join(one.title for _, one in group)
        facts = [f"{one.title}: {_together(one)}" for _, one in group]
        facts.append(proof_text(first, together=True))
        parts.append(Part(f"{titles}: together {gain}", _sentences(facts)))
    return parts


def _together(one: Recommendation) -> str:
    """The evidence of a recommendation that was measured with others, in one line."""
    return "; ".join(filter(None, [*one.evidence, bound_text(one)]))


def _gains(
    found: Compared, page_ms: float, *, inverse: bool
) -> tuple[float, float | None, float | None]:
    """Gain in ms of a page from a ratio of times, or `inverse` of rates, with its interval."""

    def gain(ratio: float | None) -> float | None:
        if not ratio:
            return None
        return page_ms * (1 - (1 / ratio if inverse else ratio))

    ends = (gain(found.ci95_low), gain(found.ci95_high))
    low, high = ends if inverse else (ends[1], ends[0])
    return gain(found.ratio) or 0.0, low, high


def certain_entries(data: ReportData, found: Group) -> Iterable[Entry]:
    """What only makes numbers more certain: the advice of each rule once for all variants."""
    by_rule: dict[str, Group] = {}
    for variant, one in found:
        if one.metric is None:
            by_rule.setdefault(one.rule, []).append((variant, one))
    for group in by_rule.values():
        base, first = group[0]
        parts = [
            Part(_about(variant, one, first), _sentences(one.evidence)) for variant, one in group
        ]
        yield Entry(
            title=first.title,
            base=base.name,
            text=first.plain,
            setting="",
            evidence=(first.text, *(() if data.tried else parts[0].facts)),
            parts=tuple(parts) if data.tried else (),
        )


def _about(variant: Variant, one: Recommendation, first: Recommendation) -> str:
    """The variant that a recommendation is for, and what it says other than the first one."""
    return variant.name if one.title == first.title else f"{variant.name}: {one.title}"
