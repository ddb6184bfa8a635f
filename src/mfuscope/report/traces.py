"""What the traces say about the device's waiting, and what they lack."""

from collections.abc import Iterable

from mfuscope.report.cells import Cell, Table, build, figure, label, share
from mfuscope.report.check import Check, capped
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.faults import Fault
from mfuscope.report.formats import percent, plural
from mfuscope.report.limits import PLACES, StageName, stage_facts


def whole_traces(data: ReportData) -> Iterable[Check]:
    """Whether the traces hold the device events of all launches, with possible times."""
    title = "Traces are whole"
    if data.hardware.device.kind == "cpu":
        return
    if not data.faults:
        text = "Every launch has its device event, and every event a plausible time."
        yield Check(title=title, verdict="ok", text=text)
        return
    partial = sum(bool(one.partial or one.empty) for one in data.faults)
    text = f"{len(data.faults)} of {plural(data.survey.total, 'trace')} lack something"
    text += (
        f". {partial} of them lost so much that the stages named here have no kernels, busy time "
        "or device times, and no conclusion rests on them:"
        if partial
        else ", too little to change a result:"
    )
    yield Check(
        title=title,
        verdict="warning",
        text=text,
        details=capped(f"{one.run}: {_words(one)}" for one in data.faults),
    )


def _words(one: Fault) -> str:
    found = ["no device event"] if one.empty else []
    if one.lost:
        found.append(f"{plural(one.lost, 'launch', 'launches')} without a device event")
    if one.left_out:
        found.append(f"{plural(one.left_out, 'device event')} with an impossible time left out")
    if one.cut:
        found.append(
            f"{plural(one.cut, 'device event')} longer than possible, cut at the next start on its "
            "stream"
        )
    if one.unclaimed:
        found.append(
            f"{percent(one.unclaimed)} of the device time belongs to no launch and counts by when "
            "it ran"
        )
    if one.partial:
        found.append(f"no device times of {' and '.join(one.partial)}")
    return "; ".join(found)


def no_busy_time(data: ReportData) -> str:
    """Why a busy time is absent."""
    if data.hardware.device.kind == "cpu":
        return "only a GPU's trace has the device's busy time"
    return "no trace of this stage is whole"


def host_table(data: ReportData) -> Table:
    """What the host does while the device waits for it, per variant and stage."""

    def row(variant: Variant, stage: StageName) -> tuple[Cell, ...] | None:
        facts = stage_facts(variant, stage, data.hardware, data.ceiling)
        if facts.waiting is None:
            return None
        whole = sum(facts.waiting.values())
        return (
            label(variant.name),
            Cell(stage),
            figure(facts.ms),
            figure(whole),
            *(share(facts.waiting[place] / whole if whole else 0.0) for place in PLACES),
        )

    stages: tuple[StageName, ...] = ("prefill", "decode")
    rows = [row(variant, stage) for variant in data.variants for stage in stages]
    return build(
        "What the host does while the device waits. The wait is timed-pass time − busy time; its "
        "split comes from the traced pass",
        ("Variant", "Stage", "Wall, ms", "Wait, ms", *map(_title, PLACES.values())),
        [one for one in rows if one is not None],
    )


def _title(place: str) -> str:
    return place[0].upper() + place[1:]
