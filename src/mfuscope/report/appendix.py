"""The report's tables on validity and reproduction."""

from collections.abc import Iterable, Mapping
from typing import Any

from mfuscope.report import validity as checks
from mfuscope.report.cells import Cell, Table, absent, amount, build, figure, label, mean
from mfuscope.report.check import MOST
from mfuscope.report.data import ReportData
from mfuscope.report.formats import interval, number, percent
from mfuscope.report.outliers import OUTLIER
from mfuscope.report.spread import CV_LIMIT, FASTER, in_short
from mfuscope.report.spread import unsteady as unsteady_times
from mfuscope.report.survey import CONDITIONS


def slowdown(data: ReportData) -> Table:
    """Timed against traced pass."""
    return build(
        "The profiler's slowdown, means over pages",
        ("Variant", "Stage", "Timed, ms", "Traced, ms", "Traced ÷ timed"),
        (
            (
                label(one.variant),
                Cell(one.stage),
                figure(one.timed_ms),
                figure(one.traced_ms),
                amount(f"×{number(one.factor)}"),
            )
            for one in checks.slowdowns(data)
        ),
    )


def unsteady(data: ReportData) -> Table:
    """Pages whose repeats differ much, the worst first."""
    found = unsteady_times(data)
    more = len(found) - MOST
    rest = f", the {MOST} worst ({more} more in summary.csv)" if more > 0 else ""
    return build(
        f"Unsteady times: more than {percent(CV_LIMIT)} variation between repeats{rest}",
        (
            "Page",
            "Variant",
            "Stage",
            "Mean ± std, ms",
            "Variation",
            "Fastest to slowest, ms",
            "Where the slower runs lost time",
        ),
        (
            (
                label(one.image),
                label(one.variant),
                Cell(one.stage),
                mean(one.stat),
                amount(percent(one.stat.cv or 0)),
                amount(interval(one.stat.min or 0, one.stat.max or 0)),
                Cell(in_short(one.causes, one.excess_ms)),
            )
            for one in found[:MOST]
        ),
    )


def outliers(data: ReportData) -> Table:
    """Outliers, the farthest first."""
    more = len(data.outliers) - MOST
    rest = f", the {MOST} farthest of {len(data.outliers)}" if more > 0 else ""
    return build(
        f"Outliers: times ÷ their page's median, {OUTLIER} of all runs{rest}",
        (
            *("Page", "Variant", "Repeat", "Stage", "Time, ms", "Time ÷ page's median"),
            "Where it lost time",
        ),
        (
            (
                label(one.run.image),
                label(one.run.variant),
                amount(str(one.run.repeat)),
                Cell(one.stage),
                figure(one.ms),
                amount(f"×{number(one.ratio)}"),
                Cell(in_short(one.excess.causes, one.excess.excess_ms) if one.excess else FASTER),
            )
            for one in data.outliers[:MOST]
        ),
    )


def absences(data: ReportData) -> Table:
    """Absent values, by reason."""
    return build(
        "Absent values and their reasons",
        ("Values", "Where", "Reason"),
        (
            (Cell(", ".join(one.names)), Cell(one.where), Cell(one.reason))
            for one in checks.absences(data)
        ),
    )


def missing(data: ReportData) -> Table:
    """Runs without results, and why."""
    return build(
        "Missing runs",
        ("Variant", "Image", "Repeat", "Reason"),
        (
            (label(run.variant), label(run.image), amount(str(run.repeat)), label(run.reason))
            for run in data.missing
        ),
    )


def skipped(data: ReportData) -> Table:
    """Pages that could not be read, and why."""
    return build(
        "Pages left out",
        ("File", "Reason"),
        ((label(page.path), label(page.reason)) for page in data.skipped),
    )


def settings(data: ReportData) -> Table:
    """Every setting, as it was resolved."""
    return build(
        "Settings as resolved",
        ("Setting", "Value"),
        ((label(key), label(text)) for key, text in _flat(data.settings)),
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool):
            yield f"{prefix}{key}", str(value).lower()
        elif value is None or value == "":
            yield f"{prefix}{key}", "(not set)"
        else:
            yield f"{prefix}{key}", str(value)


def versions(data: ReportData) -> Table:
    """The software that measured."""
    found = list(data.survey.versions.items())
    several = len(found) > 1
    rows = []
    for one, runs in found:
        pairs = [("mfuscope", one.mfuscope), ("Python", one.python), ("torch", one.torch)]
        pairs += [("transformers", one.transformers), ("CUDA", one.cuda or "none")]
        pairs += [("driver", one.driver or "none"), ("platform", one.platform)]
        which = f"{runs} of {data.survey.total}" if several else ""
        rows += [(Cell(name), Cell(value), Cell(which)) for name, value in pairs]
    for commit, runs in data.survey.commits.items():
        dirty = "its files were changed" if str(commit).endswith("-dirty") else ""
        which = f"{runs} of {data.survey.total}" if len(data.survey.commits) > 1 else ""
        shown = Cell(commit or "not known", sub=dirty)
        rows.append((Cell("mfuscope's commit"), shown, Cell(which)))
    rows.append((Cell("commit of this report"), Cell(data.commit or "not known"), Cell("")))
    return build("Software of the runs", ("Software", "Version", "Runs"), rows)


def conditions(data: ReportData) -> Table:
    """The device's conditions before and after the timed passes."""
    rows = []
    for name, unit in CONDITIONS.items():
        reason = "; ".join(data.survey.reasons(name)) or "not recorded"
        title = name.rpartition("_")[0].replace("_", " ").replace("sm ", "SM ")
        if name in data.survey.conditions:
            low, high = data.survey.conditions[name]
            text = number(low) if low == high else interval(low, high)
            rows.append((Cell(f"{title}, {unit}"), amount(text)))
        else:
            rows.append((Cell(f"{title}, {unit}"), absent(reason)))
    return build(
        "Device conditions right before and after the timed passes",
        ("Condition", "Range"),
        rows,
    )


def images(data: ReportData) -> Table:
    """The pages, with what identifies them."""
    return build(
        "Images",
        ("Image", "File", "Size, px", "Category", "SHA-256"),
        (
            (
                label(page.image),
                label(page.path),
                amount(f"{page.width} × {page.height}"),
                Cell(page.category),
                label(page.sha256),
            )
            for page in data.pages
        ),
    )
