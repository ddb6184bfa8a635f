"""How much of the spread between repeats has a cause, and how much a place only: sums and words.

The rules are those of `mfuscope.metrics.causes`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mfuscope.metrics.causes import CAUSES, LEAST_SHARE, PLACES, STAGES, Cause, Stage
from mfuscope.metrics.repeats import Excess, explained_ms, merged
from mfuscope.report.data import ReportData, Stat, Variant
from mfuscope.report.formats import listing, milliseconds, number, percent, plural
from mfuscope.report.host_record import Finding, Kind, StageRecord, findings

#: Coefficient of variation (std / mean) from which repeats are called unsteady.
CV_LIMIT = 0.1
#: From this share of its excess on, a time counts as explained.
EXPLAINED = 0.5
#: If the busy time varies by less than this share of the stage's variation, the host causes it.
HOST_LIMIT = 0.1
NOT_RECORDED = "not recorded"
#: Of an outlier that is faster than its page's other runs: nothing slowed it.
FASTER = "faster than the other repeats"

# The parts of prefill, in `Cause.name`.
_PARTS = {
    "vision": "vision encoder",
    "projector": "projector",
    "language": "language model",
    "rest": "rest of prefill",
}

_LABELS = {
    "tokens": "more tokens",
    "collections": "garbage collection",
    "wait": "waited for a CPU",
    "sm_clock": "lower SM clock",
    "stalls": "stalled steps",
    "throughout": "every decode step slower",
    "parts": "every part of prefill slower",
    "part": "one part slower",
    "sm_clock_lower": "lower SM clock",
    "throttled": "throttled",
    "steal": "CPU time taken by the hypervisor",
    "major_faults": "page faults that waited for a disk",
    "cpu_clock": "lower CPU clock",
    "gpu_processes": "other processes on the GPU",
    "jobs": "traces read meanwhile",
    "first_run": "first run of its process",
}
# What was recorded, where the milliseconds do not say it all; the unit of both sides.
_UNITS = {"tokens": "", "sm_clock": " MHz", "sm_clock_lower": " MHz", "steal": " ms"}
_UNITS |= {"major_faults": "", "cpu_clock": " MHz", "gpu_processes": "", "jobs": ""}


def words(cause: Cause) -> str:
    """A cause, with what was recorded of the slow and of the fastest run."""
    slow, fast = number(cause.slow), number(cause.fast)
    label, detail = _label(cause), ""
    if cause.kind == "throttled":
        detail = cause.name.replace("+", ", ")
    elif cause.kind == "throughout":
        detail = f"median step {slow} against {fast} ms"
    elif cause.kind == "parts":
        detail = f"every part ×{slow} or more"
    elif cause.kind == "part":
        detail = f"{slow} against {fast} ms"
    elif cause.kind in _UNITS:
        detail = f"{cause.slow:,.0f} against {cause.fast:,.0f}{_UNITS[cause.kind]}"
    one_of = "e.g. " if cause.runs > 1 else ""
    return label + (f" ({one_of}{detail})" if detail else "")


def _label(cause: Cause) -> str:
    return f"{_PARTS[cause.name]} slower" if cause.kind == "part" else _LABELS[cause.kind]


def explanation(causes: Iterable[Cause], excess_ms: float) -> str:
    """Causes and places of 5 % of the excess or more, with their ms; then circumstances."""
    return _told(causes, excess_ms, words)


def in_short(causes: Iterable[Cause], excess_ms: float) -> str:
    """The same without what was recorded."""
    return _told(causes, excess_ms, _label)


def _told(causes: Iterable[Cause], excess_ms: float, of: Callable[[Cause], str]) -> str:
    told, met = [], []
    for one in causes:
        if one.explained_ms is None:
            met.append(of(one))
        elif one.explained_ms >= LEAST_SHARE * excess_ms:
            share = percent(one.explained_ms / excess_ms)
            told.append(f"{of(one)} {milliseconds(one.explained_ms)}, {share}")
    if met:
        told.append(f"also met: {listing(met)}")
    return "; ".join(told) or NOT_RECORDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsteady:
    """A page whose repeats vary by more than the limit in a stage, and why.

    `excess_ms` is what its runs took beyond the fastest one, together.
    """

    variant: str
    image: str
    stage: Stage
    stat: Stat
    excess_ms: float
    causes: tuple[Cause, ...]

    @property
    def caused(self) -> bool:
        """Whether recorded causes explain enough."""
        return explained_ms(self.causes, CAUSES) >= EXPLAINED * self.excess_ms

    @property
    def known(self) -> bool:
        """Whether causes and places together explain enough."""
        return explained_ms(self.causes, (*CAUSES, *PLACES)) >= EXPLAINED * self.excess_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The unsteady times of a stage in a variant (or of all), together.

    Attributes:
        times: how many; of `caused` the causes, of `known` causes and places explain enough.
        excess_ms: what runs took beyond the fastest repeats of their pages.
        caused_ms: of that, what has a recorded cause.
        placed_ms: of that, what has a place and no cause.
    """

    times: int
    caused: int
    known: int
    excess_ms: float
    caused_ms: float
    placed_ms: float
    causes: tuple[Cause, ...]

    @property
    def unknown_ms(self) -> float:
        """What has neither a cause nor a place."""
        return max(0.0, self.excess_ms - self.caused_ms - self.placed_ms)


def unsteady(data: ReportData) -> list[Unsteady]:
    """Pages and stages whose repeats vary by more than the limit, the worst first."""
    of_pages = _by_time(data.excesses)
    found = [
        Unsteady(
            variant=measured.variant,
            image=page.image,
            stage=stage,
            stat=stat,
            excess_ms=sum(one.excess_ms for one in runs),
            causes=merged(runs),
        )
        for page in data.pages
        for measured in page.measured
        for stage in STAGES
        if (stat := measured.stats[f"{stage}_ms"]).cv is not None and stat.cv > CV_LIMIT
        for runs in [of_pages[measured.variant, page.image, stage]]
    ]
    return sorted(found, key=lambda one: -(one.stat.cv or 0))


def spread(data: ReportData, found: Sequence[Unsteady]) -> Spread:
    """Unsteady times together."""
    of_pages = _by_time(data.excesses)
    causes = merged(run for one in found for run in of_pages[one.variant, one.image, one.stage])
    return Spread(
        times=len(found),
        caused=sum(one.caused for one in found),
        known=sum(one.known for one in found),
        excess_ms=sum(one.excess_ms for one in found),
        caused_ms=explained_ms(causes, CAUSES),
        placed_ms=explained_ms(causes, PLACES),
        causes=causes,
    )


def _by_time(found: Iterable[Excess]) -> dict[tuple[str, str, Stage], list[Excess]]:
    times: dict[tuple[str, str, Stage], list[Excess]] = {}
    for one in found:
        times.setdefault(_time_of(one), []).append(one)
    return times


def how_much(data: ReportData) -> str:
    """How much of the spread has a cause, how much a place only, and what the record rules out."""
    times = unsteady(data)
    found = spread(data, times)
    if not found.excess_ms:
        return ""

    def part(ms: float) -> str:
        return f"{milliseconds(ms)} ({percent(ms / found.excess_ms)})"

    def of(kinds: Sequence[str]) -> str:
        sums: dict[str, float] = {}
        for one in found.causes:
            if one.kind in kinds:
                label = _LABELS[one.kind]
                sums[label] = sums.get(label, 0.0) + (one.explained_ms or 0.0)
        ordered = sorted(sums.items(), key=lambda item: -item[1])
        return listing([f"{label} {milliseconds(ms)}" for label, ms in ordered])

    told = [
        f"Against the fastest repeat of each page, {plural(found.times, 'unsteady time')} lost "
        f"{milliseconds(found.excess_ms)}.",
        f"{found.caused} of {found.times} {'has' if found.caused == 1 else 'have'} a recorded "
        "cause for at least half of the loss.",
    ]
    if found.caused_ms:
        told.append(f"Recorded causes explain {part(found.caused_ms)}: {of(CAUSES)}.")
    if found.placed_ms:
        told.append(
            f"The record says where {part(found.placed_ms)} went, but not why: {of(PLACES)}."
        )
    told.append(f"{part(found.unknown_ms)} is unexplained.")
    return " ".join([*told, *_by_the_record(host_findings(data, times).values())])


def _by_the_record(found: Iterable[Finding]) -> Iterator[str]:
    """What the record rules out, and what it does not know, in a sentence each."""
    found = list(found)
    if out := [one.text for one in found if one.ruled_out]:
        yield f"The record rules out {listing(out)}."
    if unknown := [one.text for one in found if one.ruled_out is None]:
        yield f"Not recorded for some or all of these runs: {listing(unknown)}."


def host_findings(data: ReportData, found: Sequence[Unsteady]) -> dict[Kind, Finding]:
    """What the record of the host says of these unsteady times; every run of their pages counts."""
    times = {(one.variant, one.image, one.stage) for one in found}
    return findings(
        [one for one in data.host_records if _time_of(one) in times],
        sum(one.excess_ms for one in found),
        on_gpu=data.hardware.device.kind == "cuda",
    )


def _time_of(one: Excess | StageRecord) -> tuple[str, str, Stage]:
    return one.run.variant, one.run.image, one.stage


def by_stage(data: ReportData) -> list[tuple[str, Stage, str]]:
    """Where the time went in the unsteady times of each variant and stage that has any."""
    found, told = unsteady(data), []
    for variant in data.variants:
        pages = sum(m.variant == variant.name for page in data.pages for m in page.measured)
        for stage in STAGES:
            own = [one for one in found if (one.variant, one.stage) == (variant.name, stage)]
            if not own:
                continue
            whole = spread(data, own)
            told.append(
                (
                    variant.name,
                    stage,
                    f"{len(own)} of {plural(pages, 'page')} unsteady, "
                    f"{milliseconds(whole.excess_ms)} lost against the fastest: "
                    f"{explanation(whole.causes, whole.excess_ms)}. {host_side(variant, stage)}",
                )
            )
    return told


def host_side(variant: Variant, stage: Stage) -> str:
    """That the host makes a stage vary, as the device's busy time hardly does; else empty."""
    busy, wall = variant.stats[f"{stage}_device_busy_ms"], variant.stats[f"{stage}_ms"]
    if not (busy.mean and wall.mean and wall.std_repeats) or busy.std_repeats is None:
        return ""
    device, whole = busy.std_repeats / busy.mean, wall.std_repeats / wall.mean
    if device >= HOST_LIMIT * whole:
        return ""
    return (
        f"{stage.capitalize()} varies by {percent(whole)} between repeats, the device's busy time "
        f"by {percent(device)}: the host causes the spread."
    )
