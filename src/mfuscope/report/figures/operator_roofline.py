"""The roofline of operators: where each one is by the bytes that it really moved."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mfuscope.metrics.counted import CountedOperator, Reconciliation
from mfuscope.report.data import ReportData
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.formats import number

_LABELLED = 3  # operators per stage with their names, the longest ones
_LARGEST, _SMALLEST = 900.0, 14.0  # areas of marks in square points
_STAGES = {"prefill": "prefill", "decode_step": "decode"}


def drawn(data: ReportData) -> Reconciliation | None:
    """The counters that are drawn: of the reference, where prefill takes longest; or None."""
    found = [
        one for one in data.counted if one.counters.variant == data.reference.name and points(one)
    ]
    return max(found, key=lambda one: one.stages["prefill"].hardware.device_ms, default=None)


def points(one: Reconciliation) -> list[CountedOperator]:
    """The operators that computed on the tensor pipes, with what they moved."""
    return [o for o in one.operators if o.tensor_flops and o.dram_bytes and o.device_ms]


def paint_operator_roofline(figure: Figure, data: ReportData, wide: bool) -> str:
    """TFLOP/s over measured FLOP per byte of operators, under the measured roof."""
    one = drawn(data)
    if one is None:
        return "No roofline of operators: hardware counters of FLOPs and bytes were not read."
    axes = figure.add_subplot()
    found = points(one)
    _roof(axes, data, found, wide)
    longest = max(o.device_ms for o in found)
    for stage, name in _STAGES.items():
        mine = sorted((o for o in found if o.stage == stage), key=lambda o: -o.device_ms)
        if not mine:
            continue
        axes.scatter(
            [_intensity(o) for o in mine],
            [_tflops(o) for o in mine],
            s=[max(_LARGEST * o.device_ms / longest, _SMALLEST) for o in mine],
            facecolors=COLOURS[name] + "66",
            edgecolors=COLOURS[name],
            label="prefill" if stage == "prefill" else "decode step",
            zorder=3,
        )
        for operator in mine[: _LABELLED if wide else 1]:
            axes.annotate(
                operator.name.removeprefix("aten::"),
                (_intensity(operator), _tflops(operator)),
                xytext=(6, -10),
                textcoords="offset points",
                color=COLOURS["ink"],
            )
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
    legend = figure.legend(loc="outside lower left", ncols=2)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_sizes([40.0])  # type: ignore[attr-defined]
    return ""


def _roof(axes: Axes, data: ReportData, found: Sequence[CountedOperator], wide: bool) -> None:
    """The roof that was measured on this device; the theoretical one where that is not known."""
    dtype = data.reference.model.dtype
    gemm = data.ceiling.gemm_tflops.get(dtype)
    tflops, gbs = (
        (gemm, data.ceiling.copy_gbs)
        if gemm
        else (data.hardware.peaks[dtype].tflops, data.hardware.bandwidth_gbs)
    )
    ridge = tflops * 1e3 / gbs
    low = min(*map(_intensity, found), ridge) / 3
    high = max(*map(_intensity, found), ridge) * 3
    axes.plot([low, ridge, high], [low * gbs / 1e3, tflops, tflops], "--", color=COLOURS["ink"])
    text = f"{dtype} measured {number(tflops)} TFLOP/s" if wide else f"{dtype} {number(tflops)}"
    axes.annotate(
        text,
        (high, tflops),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
    )
    axes.set_xlim(low, high)
    axes.set_ylim(min(map(_tflops, found)) / 4, tflops * 3)


def _intensity(one: CountedOperator) -> float:
    return (one.tensor_flops or 0.0) / (one.dram_bytes or 1.0)


def _tflops(one: CountedOperator) -> float:
    return (one.tensor_flops or 0.0) / one.device_ms / 1e9
