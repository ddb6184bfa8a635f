"""Checks of what was beside the runs: other sessions, readers of traces, processes."""

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Literal

from mfuscope.compare.ratios import Compared
from mfuscope.compare.verdicts import verdict
from mfuscope.metrics.causes import STAGES
from mfuscope.report.check import Check, capped
from mfuscope.report.data import ReportData
from mfuscope.report.formats import fixed, listing, milliseconds, percent, plural
from mfuscope.report.host_record import WAIT_LIMIT, starved
from mfuscope.report.sessions import Overlap, SessionRuns, differences

# Difference of the shares of disturbed runs from which variants count as unevenly disturbed.
_UNEVEN = 0.25


def one_session(data: ReportData) -> Check:
    """Whether repeats of a page come from sessions of equal conditions."""
    title, several = "Repeats of one session", data.sessions
    if not several:
        text = "All repeats of a page were measured by one process in one call."
        return Check(title=title, verdict="ok", text=text)
    apart = _apart(data)
    details = [_session(one) for one in several]
    if not apart:
        text = (
            "Some pages have repeats from several sessions (calls or processes). The sessions "
            "agree in load, clocks and reference pass. Each session's mean time against the mean "
            "of all:"
        )
        return Check(title=title, verdict="ok", text=text, details=capped(details))
    differing = [f"{listing(variants)}: {found}" for found, variants in apart.items()]
    text = (
        "Some pages have repeats from several sessions (calls or processes) under different "
        f"conditions ({'; '.join(differing)}). A mean over them mixes these conditions: measure "
        "the pages in one call, or compare the sessions. Each session's mean time against the "
        "mean of all:"
    )
    return Check(title=title, verdict="warning", text=text, details=capped(details))


def mixed_variants(data: ReportData) -> list[str]:
    """The variants with repeats from sessions of different conditions."""
    return [variant for variants in _apart(data).values() for variant in variants]


def _apart(data: ReportData) -> dict[str, list[str]]:
    """The variants whose sessions differ, by what differs."""
    found: dict[str, list[str]] = {}
    for variant, own in groupby(data.sessions, key=attrgetter("variant")):
        if differing := differences(list(own)):
            found.setdefault(listing(differing), []).append(variant)
    return found


def _session(one: SessionRuns) -> str:
    effects = [
        f"{stage} {_change(ratio)}" for stage, ratio in one.effect.items() if ratio is not None
    ]
    references = [
        f"{stage} {_change(ratio)}" for stage, ratio in one.reference.items() if ratio is not None
    ]
    met = [f"reference pass: {listing(references)}"] if references else []
    met += [f"load {one.load:.1f}"] if one.load is not None else []
    met += [f"SM clock {one.sm_clock_mhz:.0f} MHz"] if one.sm_clock_mhz is not None else []
    return (
        f"{one.variant}, call {one.session}, process {one.process} "
        f"({plural(one.runs, 'run')} of {plural(one.pages, 'page')}): {listing(effects)}; "
        f"{', '.join(met)}"
    )


def undisturbed(data: ReportData) -> Iterable[Check]:
    """Whether traces were read beside timed passes, and what else was on the GPU."""
    title = "No trace read beside a timed pass"
    if not data.overlaps:
        text = "No job of this workflow read a trace on the host during a timed pass."
        yield Check(title=title, verdict="ok", text=text)
    else:
        beside = sum(one.beside for one in data.overlaps)
        text = (
            f"A job of this workflow read a trace on the same host during {beside} of "
            f"{plural(data.survey.total, 'run')}. Times of these runs against the other runs of "
            "the same pages:"
        )
        if uneven_readers(data):
            text = (
                "The variants were disturbed unevenly: compare them in a call with --cores 1, in "
                f"which nothing is read beside a measurement. {text}"
            )
        details = capped(_overlap(one) for one in data.overlaps)
        yield Check(title=title, verdict=_slowed(data), text=text, details=details)
    if data.hardware.device.kind == "cuda":
        yield _alone(data)


def uneven_readers(data: ReportData) -> bool:
    """Whether traces were read beside the runs of some variants clearly more often than of others.

    Then the comparison of variants may be one of disturbed runs with undisturbed ones.
    """
    beside = {one.variant: one.beside / one.runs for one in data.overlaps}
    shares = [beside.get(variant.name, 0.0) for variant in data.variants]
    return max(shares) - min(shares) > _UNEVEN


def _slowed(data: ReportData) -> Literal["ok", "warning", "unknown"]:
    if uneven_readers(data):
        return "warning"
    times = [one.times[stage] for one in data.overlaps for stage in STAGES]
    if any(verdict("_ms", found) == "slower" for found in times):
        return "warning"
    return "unknown" if any(found.ci95_low is None for found in times) else "ok"


def _overlap(one: Overlap) -> str:
    differences = {stage: _difference(found) for stage, found in one.times.items()}
    told = [f"{stage} {difference}" for stage, difference in differences.items() if difference]
    found = listing(told) or "too few runs of the same pages to compare"
    return f"{one.variant} ({one.beside} of {plural(one.runs, 'run')}): {found}"


def _difference(found: Compared) -> str:
    """Empty without an interval: a difference of unknown size says nothing."""
    if found.ratio is None or found.ci95_low is None or found.ci95_high is None:
        return ""
    return (
        f"{_change(found.ratio)} (95 % interval {_change(found.ci95_low)} to "
        f"{_change(found.ci95_high)}, {verdict('_ms', found)})"
    )


def _alone(data: ReportData) -> Check:
    title, found = "Nothing else on the GPU", data.neighbours
    if found.beside:
        text = (
            f"In {found.beside} of {plural(data.survey.total, 'run')} other processes were on the "
            f"GPU right after a timed pass, at most {found.most} at once."
        )
        return Check(title=title, verdict="warning", text=text)
    if found.known < data.survey.total:
        text = "NVML did not list the GPU's processes in some or all runs, as in containers."
        return Check(title=title, verdict="unknown", text=text)
    return Check(
        title=title, verdict="ok", text="NVML showed no other process after any timed pass."
    )


def had_its_cpu(data: ReportData) -> Check:
    """Whether the thread that measured ran whenever it could."""
    title, records = "The measuring thread had its CPU", data.host_records
    known = [(share, one) for one in records if (share := one.wait_share) is not None]
    if runs := len(starved(records)):
        share, worst = max(known, key=lambda pair: pair[0])
        run = worst.run
        text = (
            f"In {runs} of {plural(data.survey.total, 'run')} other threads had its CPU: it waited "
            f"in the run queue for {percent(WAIT_LIMIT)} of a stage or more. The worst: "
            f"{milliseconds(worst.wait_ms or 0.0)} ({percent(share)}) of {worst.stage} in "
            f"{run.variant} / {run.image} / repeat {run.repeat}."
        )
        return Check(title=title, verdict="warning", text=text)
    if not known or any(one.wait_ms is None for one in records):
        text = "Some or all runs have no record of how long it waited in the run queue."
        return Check(title=title, verdict="unknown", text=text)
    share = max(share for share, _ in known)
    text = f"It waited in the run queue for at most {percent(share)} of a stage."
    return Check(title=title, verdict="ok", text=text)


def _change(ratio: float) -> str:
    """A ratio as a change in percent, with its sign."""
    return f"{'+' if ratio >= 1 else ''}{fixed(100 * (ratio - 1), 1)}\N{NO-BREAK SPACE}%"
