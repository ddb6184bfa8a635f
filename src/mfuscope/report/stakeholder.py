"""The sentences of the one-page summary, for somebody who is no engineer."""

from mfuscope.report.checks import CV_LIMIT
from mfuscope.report.data import CostCentre, ReportData, Variant
from mfuscope.report.formats import milliseconds, number, percent
from mfuscope.report.words import CENTRES, stand_in_statement


def top_centres(variant: Variant, most: int = 3) -> list[CostCentre]:
    """The most expensive cost centres."""
    return variant.centres[:most]


def meaning(data: ReportData, variant: Variant) -> list[str]:
    """What the numbers of a variant mean, for somebody who is no engineer; one text a point."""
    top = variant.centres[0]
    centre = CENTRES[top.key]
    amount = "Most of the time" if top.share > 0.5 else "The largest part of the time"
    points = [
        f"{amount}, {percent(top.share)} of it, goes into {centre.work}. If this part "
        f"cost nothing at all, a page would take {milliseconds(variant.page_ms - top.ms)} instead "
        f"of {milliseconds(variant.page_ms)}: no work on it can bring more than that.",
    ]
    busy = _device_share(data, variant, centre.stage)
    if busy is not None:
        points.append(busy)
    mfu = variant.headline["mfu_model"].mean
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
    points.append(_certainty(data, variant))
    return points


def _device_share(data: ReportData, variant: Variant, stage: str) -> str | None:
    operators = data.operators_of(variant.name, stage)
    timed = variant.decode_ms if stage == "decode" else variant.prefill_ms
    if operators is None or operators.device_ms is None or not timed:
        return None
    consequence = (
        "in the time that remains it waited for its next piece of work"
        if operators.device_ms < 0.5 * timed
        else "it was at work most of the time"
    )
    return (
        f"In {stage}, everything that the accelerator itself computed adds up to "
        f"{milliseconds(operators.device_ms)} of {milliseconds(timed)}: {consequence}."
    )


def _certainty(data: ReportData, variant: Variant) -> str:
    spreads = [
        cv
        for page in data.pages
        for m in page.measured
        if m.variant == variant.name
        for metric in ("prefill_ms", "decode_ms")
        if (cv := m.stats[metric].cv) is not None
    ]
    if not spreads:
        return "Each page was measured once, so how much these numbers vary is not known."
    worst = max(spreads)
    text = f"Repeated times of one page scatter by up to {percent(worst)} around their mean"
    if worst > CV_LIMIT:
        return f"{text}: too much to read anything into small differences."
    return f"{text}: smaller differences than that mean nothing."


def comparison(data: ReportData) -> list[str]:
    """One sentence per variant after the first: its time beside the first's."""
    first, *others = data.variants
    sentences = []
    for other in others:
        ratio = other.page_ms / first.page_ms if first.page_ms else 1.0
        top = other.centres[0]
        amount = "most" if top.share > 0.5 else "the largest part"
        sentences.append(
            f"{other.name}: {milliseconds(other.page_ms)} a page, {number(ratio)} times as long "
            f"as {first.name}; {amount} of it is {CENTRES[top.key].name} "
            f"({percent(top.share)})."
        )
    return sentences


def next_steps(data: ReportData, variant: Variant) -> list[str]:
    """What to do next: where the picture is not the real thing, first that; then the bottleneck."""
    steps = []
    if stand_in_statement(data):
        steps.append("Measure the full model on the accelerator that it will run on.")
    if data.repeats < 3:
        steps.append("Measure each page at least three times, so that the spread is known.")
    for centre in variant.centres[:2]:
        if centre.share >= 0.2:
            text = CENTRES[centre.key]
            steps.append(f"{text.name.capitalize()} ({percent(centre.share)}): {text.advice}")
    return steps
