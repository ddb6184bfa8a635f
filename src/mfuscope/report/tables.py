"""The report's tables, once for all formats: HTML and Markdown show the same cells."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mfuscope.report import checks
from mfuscope.report.data import Measured, Page, ReportData, Stat
from mfuscope.report.formats import ABSENT, interval, number, percent, size, spread
from mfuscope.report.operators import StageOperators
from mfuscope.report.survey import CONDITIONS

_NO_SPREAD = "n = 1: a single value has no spread"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    `kind`: ``number`` is set to the right, ``name`` is a name that may hold any character. `note`
    says why an absent value is absent, or gives more of a present one. `sub` is a second line.
    """

    text: str
    kind: Literal["text", "number", "name"] = "text"
    note: str = ""
    sub: str = ""

    @property
    def absent(self) -> bool:
        """Whether the value could not be had."""
        return self.text == ABSENT


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column names the rows. `numeric` has one entry per column."""

    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]


def _table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[Cell]]) -> Table:
    """A table; columns whose first cell is a number are numeric. Empty columns are dropped."""
    lines = [tuple(row) for row in rows]
    names = tuple(columns)
    kept = [i for i in range(len(names)) if any(line[i].text for line in lines)]
    return Table(
        caption,
        tuple(names[i] for i in kept),
        tuple(bool(lines) and lines[0][i].kind == "number" for i in kept),
        tuple(tuple(line[i] for i in kept) for line in lines),
    )


def _name(text: str, sub: str = "") -> Cell:
    return Cell(text, "name", sub=sub)


def _number(text: str, note: str = "") -> Cell:
    return Cell(text, "number", note)


def _value(value: float | None, significant: int = 3, reason: str = "no value") -> Cell:
    if value is None:
        return _number(ABSENT, reason)
    return _number(number(value, significant))


def mean_cell(stat: Stat, scale: float = 1.0) -> Cell:
    """``mean ± std``."""
    if stat.mean is None:
        return _number(ABSENT, stat.reason)
    return _number(spread(stat.mean, stat.std, scale), "" if stat.n > 1 else _NO_SPREAD)


def interval_cell(stat: Stat, scale: float = 1.0) -> Cell:
    """95 % confidence interval of the mean."""
    if stat.ci95_low is None or stat.ci95_high is None:
        return _number(ABSENT, stat.reason or _NO_SPREAD)
    return _number(interval(stat.ci95_low, stat.ci95_high, scale))


def headline(data: ReportData) -> Table:
    """The numbers that a reader came for, per variant."""
    over = data.variants[0].over
    return _table(
        f"Headline numbers: mean ± standard deviation between {over}s",
        (
            "Variant",
            "n",
            "Prefill, ms",
            "Decode, tokens/s",
            "MFU, %",
            *("MFU of prefill, %", "MFU of decode, %"),
        ),
        (
            (
                _name(v.name),
                _number(str(v.headline["prefill_ms"].n)),
                mean_cell(v.headline["prefill_ms"]),
                mean_cell(v.headline["decode_tokens_per_s"]),
                mean_cell(v.headline["mfu_model"], 100),
                mean_cell(v.headline["mfu_prefill"], 100),
                mean_cell(v.headline["mfu_decode"], 100),
            )
            for v in data.variants
        ),
    )


def times(data: ReportData) -> Table:
    """Where the time of every page goes."""
    several = len(data.variants) > 1

    def row(page: Page, measured: Measured) -> tuple[Cell, ...]:
        tokens = measured.tokens
        new = str(tokens.new_least)
        if tokens.new_most != tokens.new_least:
            new += f" to {tokens.new_most}"
        return (
            _name(page.image, page.file),
            _name(measured.variant if several else ""),
            Cell(measured.resolution),
            _number(str(tokens.prompt), f"of these {tokens.image} stand for the image"),
            _number(new),
            mean_cell(measured.stats["prefill_ms"]),
            mean_cell(measured.stats["vision_ms"]),
            mean_cell(measured.stats["projector_ms"]),
            mean_cell(measured.stats["language_prefill_ms"]),
            mean_cell(measured.stats["rest_ms"]),
            mean_cell(measured.stats["decode_ms"]),
        )

    return _table(
        "Time per page in ms: mean ± standard deviation between repeats",
        (
            "Page",
            "Variant",
            "Resolution",
            "Prompt tokens",
            "New tokens",
            "Prefill",
            *("Vision", "Projector", "Language", "Rest of prefill", "Decode"),
        ),
        (row(page, measured) for page in data.pages for measured in page.measured),
    )


def mfu(data: ReportData) -> Table:
    """Model FLOPs utilisation per variant and page, and over all pages."""

    def row(name: str, variant: str, n: str, stats: Mapping[str, Stat]) -> tuple[Cell, ...]:
        cells = [_name(name), _name(variant), _number(n)]
        for metric in ("mfu_model", "mfu_prefill", "mfu_decode"):
            cells += [mean_cell(stats[metric], 100), interval_cell(stats[metric], 100)]
        return tuple(cells)

    rows = []
    for variant in data.variants:
        n = variant.stats["mfu_model"].n
        rows.append(row("all pages", variant.name, f"{n}", variant.stats))
        for page in data.pages:
            for one in page.measured:
                if one.variant == variant.name:
                    n = one.stats["mfu_model"].n
                    rows.append(row(page.image, variant.name, f"{n}", one.stats))
    return _table(
        "MFU in %: mean ± standard deviation, and 95 % confidence interval of the mean. n counts "
        "a page's repeats; for all pages it counts pages, whose means are compared",
        (
            "Page",
            "Variant",
            "n",
            "Model",
            "95 % interval",
            "Prefill",
            "95 % interval",
            "Decode",
            *("95 % interval",),
        ),
        rows,
    )


def peaks(data: ReportData) -> Table:
    """What utilisation is held against, and what the device was measured to do."""
    hardware, ceiling = data.hardware, data.ceiling
    rows = []
    for dtype in dict.fromkeys(v.model.dtype for v in data.variants):
        peak, gemm = hardware.peaks[dtype], ceiling.gemm_tflops.get(dtype)
        rows.append(
            (
                Cell(f"{dtype} arithmetic, TFLOP/s"),
                _value(peak.tflops),
                Cell(peak.source),
                Cell(peak.detail),
                _value(gemm, reason=ceiling.absent.get(f"gemm_tflops.{dtype}", "not measured")),
            )
        )
    rows.append(
        (
            Cell("memory bandwidth, GB/s"),
            _value(hardware.bandwidth_gbs),
            Cell(hardware.bandwidth_source),
            Cell(hardware.bandwidth_detail),
            _value(ceiling.copy_gbs),
        )
    )
    return _table(
        "Peaks used, and what was measured on this device: its best matrix product, and a copy "
        "(bytes read and written)",
        ("What", "Peak used", "Source", "Detail", "Measured"),
        rows,
    )


def flops(data: ReportData) -> Table:
    """FLOPs of one prefill by component, and of one decode step."""
    names = list(dict.fromkeys(name for row in data.flops for name in row.components))
    return _table(
        "GFLOPs of one prefill by component, and of one decode step at the mean context",
        (
            "Variant",
            "Resolution",
            "FLOP model",
            "Prompt tokens",
            *names,
            "Prefill total",
            *("Mean context, tokens", "Per decoded token"),
        ),
        (
            (
                _name(row.variant),
                Cell(row.resolution),
                Cell(row.flop_model),
                _number(str(row.prompt_tokens)),
                *(
                    _value(
                        None if name not in row.components else row.components[name] / 1e9,
                        5,
                        "no such component",
                    )
                    for name in names
                ),
                _value(row.total / 1e9, 5),
                _value(row.context_tokens, 4, "no decode steps of this FLOP model"),
                _value(
                    None if row.per_token is None else row.per_token / 1e9,
                    5,
                    "no decode steps of this FLOP model",
                ),
            )
            for row in data.flops
        ),
    )


def operators(stage: StageOperators, most: int) -> Table:
    """The operators of a stage that take the longest; the others are added up in a last row."""
    shown, others = stage.rows[:most], stage.rows[most:]

    def share(value: float | None) -> Cell:
        if value is None:
            return _number(ABSENT, "the profiler's own pauses are no part of the total")
        return _number(percent(value))

    no_device, no_memory = "the trace holds no device event", "memory was not recorded"
    rows = [
        (
            _name(row.name, "" if row.kind == "operator" else row.kind),
            share(row.share),
            _value(row.device_ms, reason=no_device),
            _value(row.self_cpu_ms),
            _value(row.total_cpu_ms),
            _value(row.calls),
            _bytes(row.self_cpu_memory_bytes, no_memory),
            _bytes(row.self_device_memory_bytes, no_memory),
        )
        for row in shown
    ]
    if others:
        device = [row.device_ms for row in others if row.device_ms is not None]
        rows.append(
            (
                Cell(f"{len(others)} others"),
                share(sum(row.share or 0 for row in others)),
                _value(sum(device) if device else None, reason=no_device),
                _value(sum(row.self_cpu_ms for row in others)),
                _number(ABSENT, "total times nest: they do not add up"),
                _value(sum(row.calls for row in others)),
                _number(ABSENT, "not added up"),
                _number(ABSENT, "not added up"),
            )
        )
    ranked = "device time" if stage.on_device else "self CPU time"
    return _table(
        f"{stage.stage}, variant {stage.variant}: by {ranked}, mean of {stage.runs} traced runs",
        (
            "Operator",
            "Share",
            "Device ms",
            "Self CPU ms",
            "Total CPU ms",
            "Calls",
            *("Self CPU memory", "Self device memory"),
        ),
        rows,
    )


def _bytes(value: float | None, reason: str) -> Cell:
    return _number(ABSENT, reason) if value is None else _number(size(value))


def slowdown(data: ReportData) -> Table:
    """Timed against traced pass."""
    return _table(
        "The profiler's slowdown: mean over pages",
        ("Variant", "Stage", "Timed, ms", "Traced, ms", "Traced by timed"),
        (
            (
                _name(one.variant),
                Cell(one.stage),
                _value(one.timed_ms),
                _value(one.traced_ms),
                _number(f"×{number(one.factor)}"),
            )
            for one in checks.slowdowns(data)
        ),
    )


def unsteady(data: ReportData) -> Table:
    """Pages whose repeats differ much, the worst first."""
    found = checks.unsteady(data)
    more = len(found) - checks.MOST
    rest = f", the {checks.MOST} worst ({more} more in summary.csv)" if more > 0 else ""
    return _table(
        f"Times that vary by more than {percent(checks.CV_LIMIT)} between repeats{rest}",
        ("Page", "Variant", "Stage", "Mean ± std, ms", "Variation", "Smallest to largest, ms"),
        (
            (
                _name(one.image),
                _name(one.variant),
                Cell(one.stage),
                mean_cell(one.stat),
                _number(percent(one.stat.cv or 0)),
                _number(interval(one.stat.min or 0, one.stat.max or 0)),
            )
            for one in found[: checks.MOST]
        ),
    )


def absences(data: ReportData) -> Table:
    """Values that could not be had, by reason."""
    return _table(
        "Absent values and their reasons",
        ("Values", "Where", "Reason"),
        (
            (Cell(", ".join(one.names)), Cell(one.where), Cell(one.reason))
            for one in checks.absences(data)
        ),
    )


def settings(data: ReportData) -> Table:
    """Every setting, as it was resolved."""
    return _table(
        "Settings as resolved",
        ("Setting", "Value"),
        ((_name(key), _name(value)) for key, value in _flat(data.settings)),
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
    return _table("Software of the runs", ("Software", "Version", "Runs"), rows)


def conditions(data: ReportData) -> Table:
    """How the device fared before and after the timed passes."""
    rows = []
    for name, unit in CONDITIONS.items():
        reason = "; ".join(data.survey.reasons(name)) or "not recorded"
        title = name.rpartition("_")[0].replace("_", " ").replace("sm ", "SM ")
        if name in data.survey.conditions:
            low, high = data.survey.conditions[name]
            text = number(low) if low == high else interval(low, high)
            rows.append((Cell(f"{title}, {unit}"), _number(text)))
        else:
            rows.append((Cell(f"{title}, {unit}"), _number(ABSENT, reason)))
    return _table(
        "Device conditions: lowest to highest, right before and after the timed passes",
        ("Condition", "Range"),
        rows,
    )


def images(data: ReportData) -> Table:
    """The pages, so that the same ones can be measured again."""
    return _table(
        "Images",
        ("Image", "File", "Size, px", "Category", "SHA-256"),
        (
            (
                _name(page.image),
                _name(page.path),
                _number(f"{page.width} × {page.height}"),
                Cell(page.category),
                _name(page.sha256),
            )
            for page in data.pages
        ),
    )
