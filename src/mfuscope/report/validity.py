"""The report's checks of validity, each with a verdict: ``ok``, ``warning`` or ``unknown``.

``unknown`` means that the check could not be made.
"""

from dataclasses import dataclass

from mfuscope.core.runs import RunKey
from mfuscope.report.check import Check, capped
from mfuscope.report.data import STAGES, ReportData
from mfuscope.report.formats import listing, milliseconds, number, percent, plural
from mfuscope.report.outliers import OUTLIER
from mfuscope.report.publishable import valid_headline
from mfuscope.report.spread import CV_LIMIT, unsteady
from mfuscope.report.traces import whole_traces
from mfuscope.report.uncounted import all_counted
from mfuscope.report.validity_of_sessions import had_its_cpu, one_session, undisturbed
from mfuscope.report.validity_of_variants import compilations, replays, simultaneity

#: A traced pass below this share of the timed one's time is faster than a profiler allows.
FASTER_TRACED = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowdown:
    """Times of a stage in the timed and in the traced pass: means over pages.

    Of decode the mean step is compared: the traced pass may have fewer steps.
    """

    variant: str
    stage: str
    timed_ms: float
    traced_ms: float

    @property
    def factor(self) -> float:
        """Traced time / timed time."""
        return self.traced_ms / self.timed_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Values that are absent for one reason."""

    where: str
    names: tuple[str, ...]
    reason: str


def all_checks(data: ReportData) -> list[Check]:
    """Every check, in the order of the report."""
    return [
        valid_headline(data),
        _passes(data),
        _throttling(data),
        *steadiness(data),
        one_session(data),
        *undisturbed(data),
        had_its_cpu(data),
        *whole_traces(data),
        _tracing(data),
        all_counted(data),
        _contents(data),
        _frames(data),
        _uniformity(data),
        *compilations(data),
        *replays(data),
        *simultaneity(data),
    ]


def steadiness(data: ReportData) -> list[Check]:
    """The checks of repeats, which stand beside the MFU table."""
    return [_steadiness(data), _outliers(data)]


def slowdowns(data: ReportData) -> list[Slowdown]:
    """The profiler's slowdown per variant and stage; stages without time are left out."""
    found = []
    for variant in data.variants:
        for stage, metric in (("prefill", "prefill_ms"), ("decode step", "step_mean_ms")):
            timed = variant.stats[metric].mean
            traced = variant.stats[f"traced_{metric}"].mean
            if timed and traced is not None:
                found.append(
                    Slowdown(variant=variant.name, stage=stage, timed_ms=timed, traced_ms=traced)
                )
    return found


def absences(data: ReportData) -> list[Absence]:
    """Absent values of all artefacts, grouped by reason."""
    total = data.survey.total
    counts: dict[tuple[str, str], list[str]] = {}
    for (name, reason), runs in data.survey.absent.items():
        where = "all runs" if runs == total else f"{runs} of {plural(total, 'run')}"
        counts.setdefault((where, reason), []).append(name)
    records = [("device", data.hardware.device.absent), ("ceiling", data.ceiling.absent)]
    for where, absent in records:
        for name, reason in absent.items():
            counts.setdefault((where, reason), []).append(name)
    for (name, reason), calibrations in data.absent_flops.items():
        where = plural(calibrations, "calibration")
        counts.setdefault((where, reason), []).append(name)
    return [
        Absence(where=where, names=tuple(sorted(names)), reason=reason)
        for (where, reason), names in counts.items()
    ]


def _passes(data: ReportData) -> Check:
    title, runs = "Timed and traced passes agree", data.survey.total
    wrong = data.survey.disagreeing
    if not wrong:
        text = (
            f"In {plural(runs, 'run')} all passes made the same tokens; the traced pass was "
            "compared up to its last step."
        )
        return Check(title=title, verdict="ok", text=text)
    text = (
        f"In {len(wrong)} of {plural(runs, 'run')} the passes made different tokens: the traced "
        "operators may not be the timed ones."
    )
    return Check(title=title, verdict="warning", text=text, details=capped(map(_run_name, wrong)))


def _run_name(run: RunKey) -> str:
    return f"{run.variant} / {run.image} / repeat {run.repeat}"


def _throttling(data: ReportData) -> Check:
    title = "No throttling"
    unknown = data.survey.reasons("throttle_reasons")
    if data.survey.throttled:
        details = []
        for (variant, reason), runs in data.survey.throttled.items():
            of = data.survey.runs[variant]
            names = [f"{run.image} repeat {run.repeat}" for run in runs[:5]]
            more = [f"{len(runs) - 5} more"] if len(runs) > 5 else []
            details.append(
                f"{variant}: {reason} in {len(runs)} of {plural(of, 'run')} "
                f"({listing(names + more)})"
            )
        text = "The device was throttled before or after these timed passes:"
        return Check(title=title, verdict="warning", text=text, details=capped(details))
    if unknown:
        text = f"Some or all runs have no throttle reasons ({'; '.join(unknown)})."
        return Check(title=title, verdict="unknown", text=text)
    text = "No throttle reason was active before or after any timed pass."
    return Check(title=title, verdict="ok", text=text)


def _steadiness(data: ReportData) -> Check:
    title = f"Repeats within {percent(CV_LIMIT)}"
    stats = [m.stats[f"{of}_ms"] for page in data.pages for m in page.measured for of in STAGES]
    known = [stat for stat in stats if stat.cv is not None]
    if not known:
        text = "Every page was measured once: the variation between repeats is not known."
        return Check(title=title, verdict="unknown", text=text)
    wrong = unsteady(data)
    if not wrong:
        worst = max(stat.cv or 0 for stat in known)
        text = (
            f"Prefill and decode times vary by at most {percent(worst)} between the repeats of a "
            "page (standard deviation ÷ mean)."
        )
        return Check(title=title, verdict="ok", text=text)
    text = (
        f"{len(wrong)} of {len(known)} prefill and decode times of a page vary by more than "
        f"{percent(CV_LIMIT)} between repeats (standard deviation ÷ mean). Their means are rough: "
        "differences of that size between variants or pages are not significant."
    )
    return Check(title=title, verdict="warning", text=text)


def _outliers(data: ReportData) -> Check:
    title = "No outliers among the runs"
    if data.repeats < 2:
        text = "Every page was measured once: there are no repeats to compare a run with."
        return Check(title=title, verdict="unknown", text=text)
    if not data.outliers:
        text = f"No prefill or decode time is an outlier ({OUTLIER})."
        return Check(title=title, verdict="ok", text=text)
    found, times = len(data.outliers), len(STAGES) * data.survey.total
    text = (
        f"Of the {times} prefill and decode times of all runs, {found} "
        f"{'is an outlier' if found == 1 else 'are outliers'} ({OUTLIER})."
    )
    return Check(title=title, verdict="warning", text=text)


def _tracing(data: ReportData) -> Check:
    found = slowdowns(data)
    title = "Times without the profiler"
    text = (
        "Times and MFU come from the timed passes, without a profiler; operators come from the "
        "traced passes."
    )
    if factors := sorted(one.factor for one in found):
        text += f" The latter took {number(factors[0])} to {number(factors[-1])} times as long."
    faster = [one for one in found if one.factor < FASTER_TRACED]
    if not faster:
        return Check(title=title, verdict="ok", text=text)
    text += (
        " A profiler makes nothing faster. Where the traced pass was faster by more than "
        f"{percent(1 - FASTER_TRACED)}, something disturbed the timed pass, or the host changed "
        "in between."
    )
    details = [
        f"{one.variant}: {one.stage}, timed {milliseconds(one.timed_ms)}, traced "
        f"{milliseconds(one.traced_ms)}"
        for one in faster
    ]
    return Check(title=title, verdict="warning", text=text, details=capped(details))


def _contents(data: ReportData) -> Check:
    title = "Runs measured the listed files"
    wrong = [
        f"{measured.variant} / {page.image}"
        for page in data.pages
        for measured in page.measured
        if data.survey.contents[measured.variant, page.image] != {page.sha256}
    ]
    if not wrong:
        text = "The SHA-256 of every measured page equals that in the image list."
        return Check(title=title, verdict="ok", text=text)
    text = "These pages changed since they were measured:"
    return Check(title=title, verdict="warning", text=text, details=capped(wrong))


def _frames(data: ReportData) -> Check:
    title = "Whole files measured"
    several = [
        f"{page.image}: only the first of {page.frames} frames was measured"
        for page in data.pages
        if page.frames > 1
    ]
    if not several:
        text = "No file has more than one frame."
        return Check(title=title, verdict="ok", text=text)
    text = "These files have more than one frame:"
    return Check(title=title, verdict="warning", text=text, details=capped(several))


def _uniformity(data: ReportData) -> Check:
    title = "One device, one software"
    devices = [f"{name} {uuid or ''}".strip() for name, uuid in data.survey.devices]
    mixed = [v for v, models in data.survey.models.items() if len(models) > 1]
    details = devices if len(devices) > 1 else []
    if len(data.survey.versions) > 1:
        details += [
            f"{plural(runs, 'run')} with torch {v.torch}, transformers {v.transformers}, driver "
            f"{v.driver or 'none'}, mfuscope {v.mfuscope}, Python {v.python}, {v.platform}"
            for v, runs in data.survey.versions.items()
        ]
    details += [
        f"{variant}: the description of the model differs between runs" for variant in mixed
    ]
    if not details:
        text = "All runs were made on the same device, with the same software and model."
        return Check(title=title, verdict="ok", text=text)
    text = "The runs differ in more than page, repeat and variant:"
    return Check(title=title, verdict="warning", text=text, details=capped(details))
