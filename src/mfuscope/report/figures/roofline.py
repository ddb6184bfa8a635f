"""The roofline: each stage's throughput under the device's limits."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mfuscope.report.data import STAGES, Measured, ReportData, Variant
from mfuscope.report.figures.labels import End, Mark, label_ends, label_marks
from mfuscope.report.figures.looks import Look, looks
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.formats import number
from mfuscope.report.names import fitted

_FEW = 24  # pages whose marks can have their full size
_SIZES = {True: 5.5, False: 2.0}  # of the marks of few and many pages, in points
_SPREAD = 0.1  # most that a mark is moved sideways, as a part of its intensity
_NAME = {True: 26, False: 16}  # columns of a variant's name
_GOLDEN = (math.sqrt(5) - 1) / 2


class _Point(NamedTuple):
    """What a stage of a page achieves: FLOP per byte and TFLOP/s."""

    variant: str
    stage: str
    x: float
    y: float


class _Roof(NamedTuple):
    label: str
    tflops: float
    gbs: float
    dashes: str

    @property
    def ridge(self) -> float:
        return self.tflops * 1e3 / self.gbs


def _beside(x: float, place: float, ridges: Sequence[float]) -> float:
    """An intensity moved sideways, by `_SPREAD` at the places -1 and 1, but past no ridge.

    Past a ridge the mark would tell another limit.
    """
    moved = x * (1 + _SPREAD) ** place
    return x if any(min(x, moved) <= ridge <= max(x, moved) for ridge in ridges) else moved


def _spread(points: Sequence[_Point], ridges: Sequence[float]) -> list[float]:
    """The places of points: those of a stage are each moved by another part of their intensity."""
    places = {stage: iter(offsets(sum(p.stage == stage for p in points))) for stage in STAGES}
    return [_beside(point.x, 2 * next(places[point.stage]), ridges) for point in points]


def paint_roofline(figure: Figure, data: ReportData, wide: bool) -> str:
    """Achieved TFLOP/s over FLOP per byte, under the theoretical and the measured roof.

    Pages of one resolution have one intensity: marks are hollow and moved aside a little, so that
    none hides another.
    """
    points = [
        _Point(measured.variant, stage, *point)
        for page in data.pages
        for measured in page.measured
        for stage in STAGES
        if (point := _achieved(data, measured, stage)) is not None
    ]
    if not points:
        return "No roofline: the bytes that this model must move are not known."
    several, roofs = len(data.variants) > 1, _roofs(data)
    if several and not wide:  # the key takes a row for two of them
        figure.set_figheight(figure.get_figheight() + 0.1 * len(data.variants))
    axes = figure.add_subplot()
    ridges = [roof.ridge for roof in roofs]
    low = min(min(point.x for point in points) / 3, *(ridge / 3 for ridge in ridges))
    high = max(max(point.x for point in points) * 3, *(ridge * 4 for ridge in ridges))
    _frame(axes, wide)
    axes.set_xlim(low, high)
    axes.set_ylim(
        min(point.y for point in points) / 8,
        3 * max(*(roof.tflops for roof in roofs), *(point.y for point in points)),
    )
    lines = _draw_roofs(axes, roofs, figure.get_figheight() * (45 if several else 55), wide)
    few = len(data.pages) <= _FEW
    size, shapes = _SIZES[few], looks(data)
    marks: dict[str, list[Mark]] = {stage: [] for stage in STAGES}
    xs = _spread(points, ridges)
    for variant in data.variants:
        marker = shapes[variant.name].marker
        for stage in STAGES:
            mine = [
                (x, point.y)
                for x, point in zip(xs, points, strict=True)
                if (point.variant, point.stage) == (variant.name, stage)
            ]
            axes.plot(
                [x for x, _ in mine],
                [y for _, y in mine],
                marker,
                color=COLOURS[stage],
                ms=size,
                mfc="none",
                mew=1.2 if few else 0.7,
                ls="none",
                label=f"{stage}, {variant.name}",
                zorder=3,
            )
            marks[stage] += [Mark(x, y, size / 2) for x, y in mine]
            lines += _draw_busy(axes, data, variant, stage)
    _key(figure, axes, shapes if several else {}, wide)
    lowest = {stage: min(found, key=lambda m: m.y) for stage, found in marks.items() if found}
    label_marks(
        axes,
        [(stage, mark, COLOURS[stage]) for stage, mark in lowest.items()],
        [*lines, *(mark for found in marks.values() for mark in found)],
    )
    return ""


def offsets(n: int) -> list[float]:
    """Places for so many neighbours, evenly from -0.5 to 0.5, each far from the one before it."""
    places = [0.0] * n
    for rank, i in enumerate(sorted(range(n), key=lambda i: i * _GOLDEN % 1)):
        places[i] = (rank + 0.5) / n - 0.5
    return places


def _frame(axes: Axes, wide: bool) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    end = " " if wide else "\n"
    beside = f"moved by up to {_SPREAD:.0%} to show each".replace("%", "\N{NO-BREAK SPACE}%")
    axes.set_xlabel(f"arithmetic intensity, FLOP per byte{end}({beside})")
    axes.set_ylabel("TFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=7 if wide else 5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major")
    axes.set_axisbelow(True)


def _achieved(data: ReportData, measured: Measured, stage: str) -> tuple[float, float] | None:
    """FLOP per byte and TFLOP/s of a page's stage."""
    intensity = measured.stats[f"{stage}_flop_per_byte"].mean
    mfu = measured.stats[f"mfu_{stage}"].value
    if not intensity or not mfu:
        return None
    dtype = next(v.model.dtype for v in data.variants if v.name == measured.variant)
    return intensity, mfu * data.hardware.peaks[dtype].tflops


def _draw_busy(axes: Axes, data: ReportData, variant: Variant, stage: str) -> list[Mark]:
    """From the mean over wall time up to that over the device's busy time alone.

    Returns places along it, where labels would cover it.
    """
    intensity = variant.stats[f"{stage}_flop_per_byte"].mean
    wall, busy = (variant.stats[f"mfu_{stage}{end}"].value for end in ("", "_busy"))
    if not intensity or not wall or not busy:
        return []
    peak, x = data.hardware.peaks[variant.model.dtype].tflops, intensity
    axes.plot([x, x], [wall * peak, busy * peak], ":", color=COLOURS[stage], lw=1.2)
    axes.plot(
        [x],
        [busy * peak],
        "_",
        color=COLOURS[stage],
        ms=8,
        mew=2,
        label=f"{stage} while busy, {variant.name}",
    )
    along = np.geomspace(wall * peak, busy * peak, 8)
    return [Mark(x, busy * peak, 4), *(Mark(x, float(y), 1.5) for y in along)]


def _roofs(data: ReportData) -> list[_Roof]:
    """Theoretical and measured roofs by precision."""
    roofs = []
    hardware, ceiling = data.hardware, data.ceiling
    for dtype in dict.fromkeys(v.model.dtype for v in data.variants):
        peak, gemm = hardware.peaks[dtype], ceiling.gemm_tflops.get(dtype)
        pairs = [("peak" if peak.source == "table" else peak.source, peak.tflops, "-")]
        if gemm and peak.source != "measured":
            pairs.append(("measured", gemm, "--"))
        for label, tflops, dashes in pairs:
            gbs = hardware.bandwidth_gbs if dashes == "-" else ceiling.copy_gbs
            roofs.append(_Roof(f"{dtype} {label}", tflops, gbs, dashes))
    return roofs


def _draw_roofs(axes: Axes, roofs: Sequence[_Roof], height: float, wide: bool) -> list[Mark]:
    """Roofs, named at their ends, and their ridges.

    Returns places along them, where labels would cover them.
    """
    low, high = axes.get_xlim()
    ends, along = [], []
    for roof in roofs:
        xs = [low, roof.ridge, high]
        ys = [min(roof.tflops, x * roof.gbs / 1e3) for x in xs]
        axes.plot(xs, ys, roof.dashes, color=COLOURS["roof"], lw=1.3)
        text = f"{roof.label}{' ' if wide else chr(10)}{number(roof.tflops)} TFLOP/s"
        ends.append(End(text, high, roof.tflops, COLOURS["roof"]))
        along += [
            Mark(float(x), min(roof.tflops, float(x) * roof.gbs / 1e3), 1.5)
            for x in np.geomspace(low, high, 60)
        ]
    label_ends(axes, ends, height, lines=1 if wide else 2)
    for row, roof in enumerate(roofs):
        # On the side of the line with more room, so that it stays within the axes.
        left = roof.ridge**2 > low * high
        axes.axvline(roof.ridge, color=COLOURS["roof"], lw=1, ls=":")
        which = f" ({roof.label})" if wide else ""
        axes.annotate(
            f"ridge {number(roof.ridge)}{which}",
            (roof.ridge, 0),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if left else 4, 5 + 12 * row),
            textcoords="offset points",
            ha="right" if left else "left",
            color=COLOURS["muted"],
            bbox={"facecolor": COLOURS["surface"], "edgecolor": "none", "pad": 0.5},
        )
        along += [Mark(roof.ridge, float(y), 1.5) for y in np.geomspace(*axes.get_ylim(), 60)]
    return along


def _key(figure: Figure, axes: Axes, shapes: Mapping[str, Look], wide: bool) -> None:
    """The marks of variants, and what a dotted line ends at."""
    ink, size = COLOURS["ink"], _SIZES[True]
    handles = [
        Line2D([], [], marker=look.marker, ls="none", mfc="none", color=ink, ms=size)
        for look in shapes.values()
    ]
    names = [fitted(name, _NAME[wide]) for name in shapes]
    if any("while busy" in str(line.get_label()) for line in axes.lines):
        handles.append(Line2D([], [], marker="_", ls="none", color=ink, ms=8, mew=2))
        names.append("the same while the device was busy" if wide else "while busy")
    if handles:
        columns = (4 if wide else 2) if shapes else 1
        figure.legend(handles, names, loc="outside lower left", ncols=columns)
