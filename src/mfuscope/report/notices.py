"""What changes how far the numbers hold: a line each, above everything. Only what is so."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from mfuscope.report import endings
from mfuscope.report.data import STAGES, ReportData
from mfuscope.report.formats import listing, percent, plural
from mfuscope.report.host_record import starved
from mfuscope.report.publishable import HARMLESS, broken_rules
from mfuscope.report.spread import CV_LIMIT, unsteady
from mfuscope.report.uncounted import lower_bounds
from mfuscope.report.validity_of_sessions import mixed_variants, uneven_readers
from mfuscope.report.wording import STAND_INS


@dataclass(frozen=True, slots=True)
class Notice:
    """A line, and the id of the part of the report that says it at length."""

    text: str
    anchor: str


def notices(data: ReportData) -> list[Notice]:
    """The lines, the gravest first."""
    return [
        *_withheld(data),
        *stand_in(data),
        *_dummy(data),
        *_loops(data),
        *_gaps(data),
        *_unsteady(data),
        *_starved(data),
        *_sessions(data),
        *_traces(data),
        *_uncounted(data),
        *_throttling(data),
    ]


def _withheld(data: ReportData) -> Iterator[Notice]:
    broken: dict[str, list[str]] = {}
    for variant in data.variants:
        if rules := broken_rules(data, variant):
            broken.setdefault(listing(rules), []).append(variant.name)
    if broken:
        told = "; ".join(f"{listing(names)} ({rules})" for rules, names in broken.items())
        yield Notice(f"Headline numbers withheld: {told}.", "checks")


def stand_in(data: ReportData) -> Iterator[Notice]:
    """That the model or the device stands in for the real one."""
    real = sorted(
        {
            STAND_INS[name]
            for v in data.variants
            if (name := PurePath(v.model.name).name) in STAND_INS
        }
    )
    on_cpu = data.hardware.device.kind == "cpu"
    if real:
        where = " measured on a CPU" if on_cpu else ""
        what = listing(real)
        yield Notice(
            f"A small stand-in for {what}{where}: its times say nothing of {what}.", "checks"
        )
    elif on_cpu:
        yield Notice("Measured on a CPU: the times say nothing of a GPU.", "checks")


def _dummy(data: ReportData) -> Iterator[Notice]:
    dummies = [v.name for v in data.variants if v.model.weights == "dummy"]
    if dummies:
        which = "" if len(dummies) == len(data.variants) else f" of {listing(dummies)}"
        yield Notice(f"Dummy weights{which}: times and FLOPs are real, the text is not.", "checks")


def _loops(data: ReportData) -> Iterator[Notice]:
    if text := endings.loops(data):
        yield Notice(text, "endings")


def _gaps(data: ReportData) -> Iterator[Notice]:
    gaps = []
    if data.missing:
        whole = data.survey.total + len(data.missing)
        gaps.append(f"{len(data.missing)} of {plural(whole, 'run')}")
    if data.skipped:
        gaps.append(plural(len(data.skipped), "unreadable page"))
    if gaps:
        yield Notice(f"Missing: {listing(gaps)}. All numbers are of the rest.", "not-measured")


def _unsteady(data: ReportData) -> Iterator[Notice]:
    found = unsteady(data)
    times = sum(len(STAGES) for page in data.pages for _ in page.measured)
    if found:
        yield Notice(
            f"Unsteady: {len(found)} of {times} times {'varies' if len(found) == 1 else 'vary'} by "
            f"more than {percent(CV_LIMIT)} between repeats.",
            "steadiness",
        )


def _starved(data: ReportData) -> Iterator[Notice]:
    runs, total = len(starved(data.host_records)), data.survey.total
    if 2 * runs > total:
        yield Notice(
            f"Starved: the measuring thread waited for a CPU in {runs} of {plural(total, 'run')}. "
            "What limits the model may be other work on this host.",
            "checks",
        )


def _sessions(data: ReportData) -> Iterator[Notice]:
    if names := mixed_variants(data):
        which = f" of {listing(names)}" if len(data.variants) > 1 else ""
        yield Notice(f"Mixed: repeats{which} come from sessions that differ.", "checks")
    if uneven_readers(data):
        beside = sum(one.beside for one in data.overlaps)
        yield Notice(
            f"Disturbed unevenly: traces were read beside {beside} of "
            f"{plural(data.survey.total, 'run')}, of some variants more than of others.",
            "checks",
        )


def _traces(data: ReportData) -> Iterator[Notice]:
    partial = sum(bool(one.partial or one.empty) for one in data.faults)
    if partial:
        yield Notice(
            f"{partial} of {plural(data.survey.total, 'trace')} are partial: device times of "
            "those stages are absent.",
            "checks",
        )


def _uncounted(data: ReportData) -> Iterator[Notice]:
    if text := lower_bounds(data):
        yield Notice(text, "flops")


def _throttling(data: ReportData) -> Iterator[Notice]:
    reasons = {
        (variant, reason): runs
        for (variant, reason), runs in data.survey.throttled.items()
        if reason not in HARMLESS
    }
    runs = {run for found in reasons.values() for run in found}
    if runs:
        names = listing(sorted({reason for _, reason in reasons}))
        yield Notice(f"Throttled in {plural(len(runs), 'run')} ({names}).", "checks")
