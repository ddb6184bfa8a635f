"""The roofline of operators: where each one is by the bytes that it really moved."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mfuscope.metrics.counted import STAGES
from mfuscope.report.counted_operators import Point, drawn, points
from mfuscope.report.data import ReportData
from mfuscope.report.figures.labels import Mark, label_marks
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.formats import number, shortened

_NUMBERED = 6  # operators per stage with a number and their names, the longest ones
_LARGEST, _SMALLEST = 900.0, 14.0  # areas of marks in square points
_NAME = 24  # characters of an operator's name
_Place = Literal[
    "outside right upper", "outside right lower", "outside lower left", "outside lower right"
]
_PLACES: Mapping[tuple[str, bool], _Place] = {  # of keys, by stage, wide or narrow
    ("prefill", True): "outside right upper",
    ("decode_step", True): "outside right lower",
    ("prefill", False): "outside lower left",
    ("decode_step", False): "outside lower right",
}


def paint_operator_roofline(figure: Figure, data: ReportData, wide: bool) -> str:
    """TFLOP/s over measured FLOP per byte of operators, under the measured roof."""
    one = drawn(data)
    if one is None:
        return (
            "No roofline of operators: hardware counters have no FLOPs and bytes of operators."
            if data.counted
            else "No roofline of operators: hardware counters were not read."
        )
    axes = figure.add_subplot()
    found = [point for point in points(data, one) if point.on_roofline]
    longest = max(point.ms for point in found)
    labels: list[tuple[str, Mark, str]] = []
    for stage, name in STAGES.items():
        mine = [point for point in found if point.stage == stage]
        marks = [
            axes.scatter(
                point.intensity,
                point.tflops,
                s=_area(point, longest),
                facecolors=COLOURS[name] + "33",
                edgecolors=COLOURS[name],
                linewidths=1.2,
                zorder=3,
            )
            for point in mine
        ]
        names = []
        for at, point in enumerate(mine[:_NUMBERED], len(labels) + 1):
            names.append(f"{at} {shortened(point.name, _NAME)}")
            labels.append((str(at), _mark(point, longest), COLOURS["ink"]))
        if mine:
            _key(figure, stage, marks, names, wide)
    if wide:
        axes.set_title(f"{one.counters.variant} at {one.counters.resolution}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    where = "FLOP of the tensor pipes per byte of DRAM"
    axes.set_xlabel(f"measured intensity, {where}" if wide else "measured FLOP per byte of DRAM")
    axes.set_ylabel("TFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=7 if wide else 5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major")
    axes.set_axisbelow(True)
    roof = _roof(axes, data, found, wide)
    label_marks(axes, labels, [*roof, *(_mark(point, longest) for point in found)])
    return ""


def _area(point: Point, longest: float) -> float:
    return max(_LARGEST * point.ms / longest, _SMALLEST)


def _mark(point: Point, longest: float) -> Mark:
    return Mark(point.intensity, point.tflops, math.sqrt(_area(point, longest) / math.pi))


def _key(
    figure: Figure, stage: str, marks: Sequence[Artist], names: Sequence[str], wide: bool
) -> None:
    """The numbers and names of a stage's operators: on the right, or below where it is narrow."""
    size = None if wide else 8
    legend = figure.legend(
        marks[: len(names)],
        names,
        title=stage.replace("_", " "),
        loc=_PLACES[stage, wide],
        alignment="left",
        fontsize=size,
        title_fontsize=size,
        handlelength=1,
        handletextpad=0.4,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_sizes([40.0])  # type: ignore[attr-defined]


def _roof(axes: Axes, data: ReportData, found: Sequence[Point], wide: bool) -> list[Mark]:
    """The roof that was measured on this device; the theoretical one where that is not known.

    Returns places along it, where labels would cover it.
    """
    dtype = data.reference.model.dtype
    gemm = data.ceiling.gemm_tflops.get(dtype)
    tflops, gbs = (
        (gemm, data.ceiling.copy_gbs)
        if gemm
        else (data.hardware.peaks[dtype].tflops, data.hardware.bandwidth_gbs)
    )
    ridge = tflops * 1e3 / gbs
    low = min(*(point.intensity for point in found), ridge) / 3
    high = max(*(point.intensity for point in found), ridge) * 3
    xs = [low, ridge, high]
    axes.plot(xs, [low * gbs / 1e3, tflops, tflops], "--", color=COLOURS["roof"], lw=1.3)
    axes.set_xlim(low, high)
    axes.set_ylim(min(point.tflops for point in found) / 4, tflops * 6)
    name = f"{dtype} {'measured' if gemm else 'peak'} {number(tflops)}"
    axes.annotate(
        f"{name} TFLOP/s" if wide else name,
        (1, 1),
        xycoords="axes fraction",
        xytext=(0, -2),
        textcoords="offset points",
        ha="right",
        va="top",
    )
    along = [low * (high / low) ** (i / 60) for i in range(61)]
    return [Mark(x, min(tflops, x * gbs / 1e3), 1.5) for x in along]
