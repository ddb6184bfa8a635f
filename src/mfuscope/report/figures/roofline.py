"""The roofline: each stage's throughput under the device's limits."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mfuscope.report.data import Measured, ReportData, Variant
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.formats import number

_MARKERS = "osD^vPX*"


def paint_roofline(figure: Figure, data: ReportData, wide: bool) -> str:
    """Achieved TFLOP/s over FLOP per byte, under the theoretical and the measured roof."""
    points = [
        (page.image, measured, stage, *point)
        for page in data.pages
        for measured in page.measured
        for stage in ("prefill", "decode")
        if (point := _achieved(data, measured, stage)) is not None
    ]
    if not points:
        return "No roofline: the bytes that this model must move are not known."
    axes = figure.add_subplot()
    intensities = [x for *_, x, _ in points]
    achieved = [y for *_, y in points]
    roofs = _roofs(data)
    low = min(min(intensities) / 3, *(ridge / 3 for *_, ridge in roofs))
    high = max(max(intensities) * 3, *(ridge * 4 for *_, ridge in roofs))
    for label, tflops, gbs, dashes, ridge in roofs:
        colour = COLOURS["ink" if dashes == "-" else "muted"]
        xs = [low, ridge, high]
        axes.plot(xs, [min(tflops, x * gbs / 1e3) for x in xs], dashes, color=colour, lw=1.3)
        above = dashes == "-"
        axes.annotate(
            f"{label} {number(tflops)} TFLOP/s" if wide else f"{label} {number(tflops)}",
            (high, tflops),
            xytext=(0, 4 if above else -4),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            color=colour,
        )
        if above:
            # On the side of the line with more room, so that it stays within the axes.
            left = ridge**2 > low * high
            axes.axvline(ridge, color=COLOURS["muted"], lw=0.8, ls=":")
            axes.annotate(
                f"ridge {number(ridge)} FLOP/byte",
                (ridge, 0),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if left else 4, 5),
                textcoords="offset points",
                ha="right" if left else "left",
                color=COLOURS["muted"],
            )
    several = len(data.variants) > 1
    shapes = {v.name: _MARKERS[i % len(_MARKERS)] for i, v in enumerate(data.variants)}
    for variant in data.variants:
        for stage in ("prefill", "decode"):
            mine = [p for p in points if p[1].variant == variant.name and p[2] == stage]
            if not mine:
                continue
            label = f"{stage}, {variant.name}" if several else f"{stage}, one point a page"
            axes.plot(
                [x for *_, x, _ in mine],
                [y for *_, y in mine],
                shapes[variant.name],
                color=COLOURS[stage],
                ms=6,
                mec=COLOURS["surface"],
                mew=0.8,
                label=label,
                ls="none",
            )
            _busy_point(axes, data, variant, stage, shapes[variant.name])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(achieved) / 3, max(tflops for _, tflops, *_ in roofs) * 3)
    axes.set_xlabel("arithmetic intensity, FLOP per byte")
    axes.set_ylabel("TFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=7 if wide else 5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major")
    figure.legend(loc="outside lower left", ncols=2 if wide else 1)
    return ""


def _achieved(data: ReportData, measured: Measured, stage: str) -> tuple[float, float] | None:
    """FLOP per byte and TFLOP/s of a page's stage."""
    intensity = measured.stats[f"{stage}_flop_per_byte"].mean
    mfu = measured.stats[f"mfu_{stage}"].value
    if not intensity or not mfu:
        return None
    dtype = next(v.model.dtype for v in data.variants if v.name == measured.variant)
    return intensity, mfu * data.hardware.peaks[dtype].tflops


def _busy_point(axes: Axes, data: ReportData, variant: Variant, stage: str, marker: str) -> None:
    """The mean over the device's busy time alone, above the mean over wall time."""
    intensity = variant.stats[f"{stage}_flop_per_byte"].mean
    wall, busy = (variant.stats[f"mfu_{stage}{end}"].value for end in ("", "_busy"))
    if not intensity or not wall or not busy:
        return
    peak = data.hardware.peaks[variant.model.dtype].tflops
    axes.plot([intensity] * 2, [wall * peak, busy * peak], ":", color=COLOURS[stage], lw=1)
    axes.plot(
        [intensity],
        [busy * peak],
        marker,
        color=COLOURS[stage],
        mfc="none",
        ms=7,
        ls="none",
        label=f"{stage}, while the device was busy" if variant is data.variants[0] else None,
    )


def _roofs(data: ReportData) -> list[tuple[str, float, float, str, float]]:
    """Label, TFLOP/s, GB/s, line style and ridge: theoretical and measured, by precision."""
    roofs = []
    hardware, ceiling = data.hardware, data.ceiling
    for dtype in dict.fromkeys(v.model.dtype for v in data.variants):
        peak, gemm = hardware.peaks[dtype], ceiling.gemm_tflops.get(dtype)
        pairs = [("peak" if peak.source == "table" else peak.source, peak.tflops, "-")]
        if gemm and peak.source != "measured":
            pairs.append(("measured", gemm, "--"))
        for label, tflops, dashes in pairs:
            gbs = hardware.bandwidth_gbs if dashes == "-" else ceiling.copy_gbs
            roofs.append((f"{dtype} {label}", tflops, gbs, dashes, tflops * 1e3 / gbs))
    return roofs
