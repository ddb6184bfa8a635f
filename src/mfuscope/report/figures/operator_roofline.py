"""The roofline of operators: where each one is by the bytes that it really moved."""

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mfuscope.metrics.counted import STAGES
from mfuscope.report.counted_operators import Point, drawn, points
from mfuscope.report.data import ReportData
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
    _roof(axes, data, found, wide)
    longest, told = max(point.ms for point in found), 0
    for stage, name in STAGES.items():
        mine = [point for point in found if point.stage == stage]
        numbered = mine[:_NUMBERED]
        marks = [
            axes.scatter(
                point.intensity,
                point.tflops,
                s=max(_LARGEST * point.ms / longest, _SMALLEST),
                facecolors=COLOURS[name] + "66",
                edgecolors=COLOURS[name],
                zorder=3,
            )
            for point in mine
        ]
        names = []
        for at, point in enumerate(numbered, told + 1):
            names.append(f"{at} {shortened(point.name, _NAME)}")
            axes.annotate(
                str(at),
                (point.intensity, point.tflops),
                # Operators of both stages may lie at the same place.
                xytext=(4, 4) if stage == "prefill" else (-4, -4),
                textcoords="offset points",
                ha="left" if stage == "prefill" else "right",
                va="bottom" if stage == "prefill" else "top",
                color=COLOURS["ink"],
                zorder=4,
            )
        told += len(numbered)
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
    return ""


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


def _roof(axes: Axes, data: ReportData, found: Sequence[Point], wide: bool) -> None:
    """The roof that was measured on this device; the theoretical one where that is not known."""
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
    axes.plot([low, ridge, high], [low * gbs / 1e3, tflops, tflops], "--", color=COLOURS["ink"])
    text = f"{dtype} measured {number(tflops)} TFLOP/s" if wide else f"{dtype} {number(tflops)}"
    axes.annotate(
        text,
        (high, tflops),
        xytext=(0, 16),  # above the number of a point that lies on the roof
        textcoords="offset points",
        ha="right",
        va="bottom",
    )
    axes.set_xlim(low, high)
    axes.set_ylim(min(point.tflops for point in found) / 4, tflops * 3)
