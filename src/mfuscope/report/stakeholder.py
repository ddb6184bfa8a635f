"""The sentences of the one-page summary, for readers without technical background."""

from typing import Literal

from mfuscope.compare.ratios import Compared
from mfuscope.compare.verdicts import NO_DIFFERENCE
from mfuscope.report.data import CostCentre, ReportData, Tried, Variant
from mfuscope.report.formats import milliseconds, number, percent, plural, ratio_interval
from mfuscope.report.limits import StageFacts, main_stage, stage_facts
from mfuscope.report.recommendations import Proof, Recommendation
from mfuscope.report.side_by_side import IDENTICAL, changes_text
from mfuscope.report.spread import CV_LIMIT
from mfuscope.report.tried import (
    fastest,
    fastest_with_same_tokens,
    is_batch,
    same_work,
    speed_metric,
    verdict_of,
)
from mfuscope.report.wording import CENTRES, a_page, answer_text, page_of, stand_in_statement

#: Recommendations that fit on one page.
MOST_STEPS = 3
# What recommendations shorten, by their metric.
_PARTS = {
    "prefill_ms": "taking in the page",
    "vision_ms": "looking at the page",
    "decode_ms": "writing the answer",
}


def batches(data: ReportData) -> str:
    """Which variants work on copies of a page together, in brackets; empty without one."""
    found = [v for v in data.variants if v.batch_size > 1]
    if not found:
        return ""
    each = [f"{v.name}: {v.batch_size} copies of one page together" for v in found]
    return f" ({', '.join(each)})"


def top_centres(variant: Variant, most: int = 3) -> list[CostCentre]:
    """The most expensive cost centres."""
    return variant.centres[:most]


def bottom_line(data: ReportData, variant: Variant) -> str:
    """What limits the model, in a sentence without technical terms."""
    stage = stage_facts(variant, main_stage(variant), data.hardware, data.ceiling)
    work = "writing the answer" if stage.stage == "decode" else "taking in the page"
    share = percent(stage.ms / variant.page_ms) if variant.page_ms else "all"
    busy = "only a part" if stage.busy_share is None else percent(stage.busy_share)
    reasons = {
        "host": f"there the accelerator is at work {busy} of the time, and otherwise waits for "
        "the computer beside it to hand out the next small piece of work. A faster accelerator "
        "would change little",
        "memory": "there it waits for the model's numbers to arrive from memory. Faster memory or "
        "fewer bytes would help, more computing power would not",
        "compute": f"there the accelerator calculates at {percent(stage.compute_share or 0)} of "
        "the best speed that it was seen to reach. Less work, or a faster accelerator, would help",
        "kernels": "there the device is at work, but on many small steps that use little of what "
        "it can do. Better software would help more than a faster device",
        "unknown": "too little was measured to say why",
    }
    return f"{share} of the time goes into {work}; {reasons[stage.kind]}."


def meaning(data: ReportData, variant: Variant) -> list[str]:
    """What the numbers of a variant mean, one text per point."""
    top = variant.centres[0]
    centre = CENTRES[top.key]
    amount = "Most of the time" if top.share > 0.5 else "The largest part of the time"
    points = [
        f"{amount}, {percent(top.share)} of it, goes into {centre.work}. If this part "
        f"cost nothing at all, {a_page(variant)} would take "
        f"{milliseconds(variant.page_ms - top.ms)} instead of {milliseconds(variant.page_ms)}: no "
        "work on it can bring more than that.",
    ]
    busy = _device_share(
        stage_facts(
            variant,
            "decode" if centre.stage == "decode" else "prefill",
            data.hardware,
            data.ceiling,
        )
    )
    if busy is not None:
        points.append(busy)
    mfu = variant.headline["mfu_model"].value
    if mfu is not None:
        peak = data.hardware.peaks[variant.model.dtype]
        best = (
            "that it reached in the fastest calculation measured on it"
            if peak.source == "measured"
            else "that its makers promise at best"
            if peak.source == "table"
            else "that it is taken to reach at best"
        )
        points.append(
            f"While it worked on a page, the device computed at {percent(mfu)} of the speed {best} "
            "(this share is called MFU). The rest of its capacity was not used."
        )
    return points


def _device_share(stage: StageFacts) -> str | None:
    if stage.busy_ms is None or stage.busy_share is None:
        return None
    consequence = (
        "in the time that remains it waited for its next piece of work"
        if stage.kind == "host"
        else "it was at work most of the time"
    )
    return (
        f"In {stage.stage}, everything that the accelerator itself computed adds up to "
        f"{milliseconds(stage.busy_ms)} of {milliseconds(stage.ms)}: {consequence}."
    )


def confidence(data: ReportData, variant: Variant) -> tuple[Literal["high", "medium", "low"], str]:
    """How certain the numbers are, and why."""
    low, medium = [], []
    if stand_in_statement(data):
        low.append("what was measured is not the real model on its real device")
    if len(data.survey.devices) > 1:
        low.append("the runs were made on different devices")
    worst = _worst_spread(data)
    if worst is None:
        low.append("each page was measured once, so the variation between repeats is not known")
    elif worst > 2 * CV_LIMIT:
        low.append(f"repeated times of one page scatter by up to {percent(worst)}")
    elif worst > CV_LIMIT:
        medium.append(f"repeated times of one page scatter by up to {percent(worst)}")
    if worst is not None and data.repeats < 3:
        medium.append(f"each page was measured only {plural(data.repeats, 'time')}")
    if len(data.pages) < 5:
        medium.append(f"{plural(len(data.pages), 'page')} may not stand for all")
    if data.hardware.peaks[variant.model.dtype].source in ("estimated", "override"):
        medium.append("the device's peak speed is not from a data sheet")
    if low or medium:
        return ("low" if low else "medium"), "; ".join([*low, *medium])
    return "high", (
        f"{plural(len(data.pages), 'page')}, each measured {plural(data.repeats, 'time')}, whose "
        f"times scatter by at most {percent(worst or 0)}"
    )


def _worst_spread(data: ReportData) -> float | None:
    spreads = [
        cv
        for page in data.pages
        for m in page.measured
        for metric in ("prefill_ms", "decode_ms")
        if (cv := m.stats[metric].cv) is not None
    ]
    return max(spreads, default=None)


def comparison(data: ReportData) -> list[str]:
    """A sentence per variant after the first: how it compares with the first, and how sure."""
    return [_compared(data, one) for one in data.tried]


def _compared(data: ReportData, one: Tried) -> str:
    name = f"{one.variant.name} ({changes_text(one.changes)})"
    batch = is_batch(data, one)
    metric = speed_metric(data, one)
    found = one.compared[metric]
    if found.ratio is None:
        return f"{name}: nothing to compare was measured."
    difference = _difference(found, verdict_of(one, metric), batch)
    sentence = f"{name}: {_values(data, one, metric)}, {difference}"
    if batch:
        copies = plural(one.variant.batch_size, "copy", "copies")
        sentence += f". It works on {copies} of a page at once: {IDENTICAL}"
    if not same_work(data, one):
        sentence += ". It does other work, so that this is no faster way to do the same"
    elif one.same_tokens is False:
        sentence += ". It writes another text"
    return f"{sentence}."


def _values(data: ReportData, one: Tried, metric: str) -> str:
    found = one.compared[metric]
    new, old = found.variant_mean or 0.0, found.reference_mean or 0.0
    own, usual = answer_text(one.variant.answer), answer_text(data.reference.answer)
    other = "" if own == usual else f" of {usual}"
    if metric == "pages_per_s":
        return f"{number(new)} pages of {own} a second instead of {number(old)}{other}"
    return f"{milliseconds(new)} a page of {own} instead of {milliseconds(old)}{other}"


def _difference(found: Compared, verdict: str, batch: bool) -> str:
    """The ratio of a page's time, or of the pages per second, and how sure it is."""
    if not verdict:
        return "measured too seldom to tell a difference from chance"
    if verdict == NO_DIFFERENCE:
        return "a difference that chance explains as well"
    ratio, low, high = found.ratio or 1.0, found.ci95_low or 1.0, found.ci95_high or 1.0
    what = "as many" if batch else "as long"
    if verdict == "faster" and not batch:
        ratio, low, high, what = 1 / ratio, 1 / high, 1 / low, "as fast"
    ends = ratio_interval(ratio, low, high)
    return f"{number(ratio)} times {what}{f' (95 % sure: {ends})' if ends else ''}"


def next_steps(
    data: ReportData, variant: Variant, recommendations: list[Recommendation]
) -> list[str]:
    """What to do next; if a stand-in was measured, first to measure the real model."""
    steps = []
    if stand_in_statement(data):
        steps.append("Measure the full model on the accelerator that it will run on.")
    best, sure = fastest(data), fastest_with_same_tokens(data)
    if sure is not None:
        steps.append(f"Use {_fast(data, sure)}.")
    if best is not None and not best.same_tokens:
        steps.append(
            "Check the text, which may be another one, and use this if it is right: "
            f"{_fast(data, best)}."
        )
    for one in recommendations[:MOST_STEPS]:
        if one.proof is not None and variant.page_ms:
            steps.append(f"{one.plain} {_proven(variant, one.proof, one.metric)}")
        elif one.gain_ms is None or not variant.page_ms:
            steps.append(one.plain)
        else:
            left = max(variant.ms_per_page - one.gain_ms, 0.0)
            steps.append(
                f"{one.plain} At the very best {page_of(variant)} would take "
                f"{milliseconds(left)} instead of {milliseconds(variant.ms_per_page)}."
            )
    return steps or ["Nothing that was measured suggests an obvious next step."]


def _fast(data: ReportData, one: Tried) -> str:
    found = _values(data, one, "page_ms")
    return f"{one.variant.name} ({changes_text(one.changes)}): {found}"


def _proven(variant: Variant, proof: Proof, metric: str | None) -> str:
    """What a recommendation brought, in words without technical terms."""
    what = _PARTS.get(metric or "", "a page")
    if not proof.verdict:
        return f"It was tried ({proof.variant}), too seldom to tell whether it helps."
    if proof.verdict != "faster":
        return f"It was tried ({proof.variant}), and was not shown to make {what} faster."
    left = max(variant.ms_per_page - proof.gain_ms, 0.0)
    if metric == "page_ms":
        return (
            f"It was tried ({proof.variant}): {page_of(variant)} takes {milliseconds(left)} "
            f"instead of {milliseconds(variant.ms_per_page)}, its share of the time of a batch."
        )
    return (
        f"It was tried ({proof.variant}): what this part gained alone brings {page_of(variant)} to "
        f"{milliseconds(left)} instead of {milliseconds(variant.ms_per_page)}."
    )
