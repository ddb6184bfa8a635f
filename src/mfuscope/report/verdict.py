"""The verdict in one sentence: what limits the model, what was the best, by how much, how sure."""

from mfuscope.report.best import none_best, times, tokens
from mfuscope.report.data import ReportData, Tried
from mfuscope.report.formats import milliseconds, percent
from mfuscope.report.limits import Kind, StageFacts, main_stage, stage_facts
from mfuscope.report.publishable import withheld
from mfuscope.report.side_by_side import changes_text
from mfuscope.report.tried import fastest, highest_throughput
from mfuscope.report.wording import a_page

_LIMITS: dict[Kind, str] = {
    "host": "The host limits {}",
    "memory": "Memory bandwidth limits {}",
    "compute": "Arithmetic limits {}",
    "kernels": "Inefficient kernels limit {}",
    "unknown": "What limits {} is not known",
}


def verdict_sentence(data: ReportData) -> str:
    """The sentence; before it, why there is no headline number where the rules withhold it."""
    sentence = f"{_limit(data)}."
    if data.tried:
        sentence += "".join(f" {one[0].upper()}{one[1:]}." for one in _best(data))
    reason = withheld(data, data.reference, "page")
    name = data.reference.name if data.tried else "the measurement"
    return f"No headline number, as {name} is {reason}. {sentence}" if reason else sentence


def _limit(data: ReportData) -> str:
    variant = data.reference
    facts = stage_facts(variant, main_stage(variant), data.hardware, data.ceiling)
    subject = variant.name if data.tried else variant.model.name
    share = percent(facts.ms / variant.page_ms) if variant.page_ms else "all"
    return (
        f"{_LIMITS[facts.kind].format(subject)}: {facts.stage} takes {share} of {a_page(variant)}, "
        f"and {_reached(facts)}"
    )


def _reached(facts: StageFacts) -> str:
    """The number that shows what limits the stage."""
    compute, memory = (
        "an unknown share" if value is None else percent(value)
        for value in (facts.compute_share, facts.memory_share)
    )
    match facts.kind:
        case "host":
            return f"the device is busy for only {percent(facts.busy_share or 0)} of {facts.stage}"
        case "memory":
            return f"reads memory at {memory} of the measured bandwidth"
        case "compute":
            return f"computes at {compute} of the best measured matrix product"
        case "kernels":
            least = "" if facts.traffic_counted else "at least "
            return f"reaches {compute} of the measured arithmetic and {least}{memory} of the " + (
                "measured bandwidth"
            )
        case "unknown" if facts.on_cpu and facts.starved:
            return "its thread waited for a CPU in most runs"
        case "unknown":
            return "too little was measured to say more"


def _best(data: ReportData) -> list[str]:
    """The fastest variant and that of the highest throughput; why there is none."""
    best, batch = fastest(data), highest_throughput(data)
    found = []
    if best is not None:
        page = best.compared["page_ms"]
        fast = f"{times(page, 'as fast', inverse=True)}{_page(data, best)}{tokens(best)}"
        others = len(data.tried) > 1
        found.append(
            f"of {len(data.tried)} variants tried, {_named(best)} is the fastest: {fast}"
            if others
            else f"with {_named(best)} it is {fast}"
        )
    if batch is not None:
        # Not on top of the fastest one: what both bring together was not measured.
        who = f"instead of it, {_named(batch)}" if found else f"with {batch.variant.name} it"
        rate = times(batch.compared["pages_per_s"], "as many pages/s")
        found.append(f"{who} completes {rate}, of identical pages")
    if found:
        return found
    why = none_best(data)
    return [f"{why[0].lower()}{why[1:-1]}"]


def _page(data: ReportData, best: Tried) -> str:
    """The time of a page with and without it; empty where a rule withholds one of them."""
    if any(withheld(data, variant, "page") for variant in (data.reference, best.variant)):
        return ""
    before, after = (milliseconds(one.page_ms) for one in (data.reference, best.variant))
    return f", {after} a page instead of {before}"


def _named(one: Tried) -> str:
    return f"{one.variant.name} ({changes_text(one.changes)})"
