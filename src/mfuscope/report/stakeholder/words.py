"""Where the time goes and why, in words without technical terms."""

from mfuscope.report.data import CostCentre, ReportData, Variant
from mfuscope.report.formats import listing, milliseconds, percent
from mfuscope.report.limits import main_stage, stage_facts
from mfuscope.report.stakeholder.setups import Setup

#: Parts of a page's time that are named.
MOST_PARTS = 3

_WORK = {
    "vision": "Looking at the page",
    "projector": "Handing on what it saw",
    "language": "Taking in what it saw",
    "rest": "Other work before the first word",
    "others": "The rest",
    "prefill": "Taking in page and instruction",
    "decode": "Writing the answer",
}


def bottom_line(data: ReportData, variant: Variant) -> str:
    """What limits the model, in a sentence without technical terms."""
    stage = stage_facts(variant, main_stage(variant), data.hardware, data.ceiling)
    work = "writing the answer" if stage.stage == "decode" else "taking in the page"
    share = percent(stage.ms / variant.page_ms) if variant.page_ms else "all"
    busy = "only a part" if stage.busy_share is None else percent(stage.busy_share)
    reasons = {
        "host": f"There the accelerator works {busy} of the time, and otherwise waits for the "
        "computer beside it to hand out the next small piece of work: a faster accelerator would "
        "change little",
        "memory": "There it waits for the model's numbers to arrive from memory: faster memory or "
        "fewer bytes would help, more computing power would not",
        "compute": f"There the accelerator calculates at {percent(stage.compute_share or 0)} of "
        "the best speed that it was seen to reach: less work, or a faster accelerator, would help",
        "kernels": "There the accelerator mostly works on many small steps that use little of what "
        "it can do: better software would help more than a faster accelerator",
        "unknown": "Other work on the same computer disturbed the measurement, so why is not known"
        if stage.on_cpu and stage.starved
        else "Too little was measured to say why",
    }
    return f"{share} of the time goes into {work}. {reasons[stage.kind]}."


def parts(shown: list[Setup]) -> list[tuple[str, tuple[str, ...]]]:
    """The largest parts of a page's time, each with its time and share in every setup."""
    centres = [{one.key: one for one in setup.variant.centres} for setup in shown]
    share = {key: max(of[key].share for of in centres if key in of) for of in centres for key in of}
    largest = sorted(share, key=lambda key: -share[key])[:MOST_PARTS]
    found = [
        (_WORK[key], tuple(_part([of[key]] if key in of else []) for of in centres))
        for key in largest
    ]
    others = tuple(_part([one for key, one in of.items() if key not in largest]) for of in centres)
    return [*found, (_WORK["others"], others)] if len(share) > len(largest) else found


def _part(of: list[CostCentre]) -> str:
    """The time and the share of parts together."""
    if not of:
        return "–"
    return f"{milliseconds(sum(one.ms for one in of))} ({percent(sum(one.share for one in of))})"


def used(data: ReportData, shown: list[Setup]) -> str:
    """Which share of the device's speed was used (MFU); empty where it is not known."""
    known = [
        (one, mfu) for one in shown if (mfu := one.variant.headline["mfu_model"].value) is not None
    ]
    if not known:
        return ""
    source = data.hardware.peaks[known[0][0].variant.model.dtype].source
    best = {
        "measured": "that it reached in the fastest calculation measured on it",
        "table": "that its makers promise at best",
    }.get(source, "that it is taken to reach at best")
    shares = [f"{percent(mfu)}{f' ({one.name})' if len(shown) > 1 else ''}" for one, mfu in known]
    return (
        f"The accelerator computed at {listing(shares)} of the speed {best}; engineers call this "
        "share MFU."
    )
