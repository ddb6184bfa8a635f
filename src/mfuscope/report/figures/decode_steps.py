"""Decode step times: their distribution, and the steps over their position in the answer."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mfuscope.report.data import ReportData
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.survey import Floats


def paint_decode_steps(figure: Figure, data: ReportData, wide: bool) -> str:
    """Distribution of the step times, and the steps over their position in the answer."""
    steps = {name: runs for name, runs in data.survey.steps.items() if any(map(len, runs))}
    if not steps:
        return "No decode step was measured: the answers have one token."
    shape = (1, 2) if wide else (2, 1)
    spread, position = figure.subplots(*shape)
    styles = ("-", "--", "-.", ":")
    everything = np.concatenate([run for runs in steps.values() for run in runs])
    low, high = float(everything.min()), float(np.percentile(everything, 99.5))
    high = max(high, 1.1 * low)  # steps that hardly differ are one bar, not forty
    bins = np.linspace(low, high, 40)
    several = len(steps) > 1
    for index, (name, runs) in enumerate(steps.items()):
        style = styles[index % len(styles)]
        values = np.concatenate(runs)
        weights = np.full(len(values), 100 / len(values))
        label = name if several else "steps"
        spread.hist(
            values,
            bins=list(bins),
            weights=weights,
            histtype="step" if several else "stepfilled",
            color=COLOURS["decode"],
            alpha=1 if several else 0.55,
            ls=style,
            label=label,
        )
        if not several:
            for share in (50, 95, 99):
                at = float(np.percentile(values, share))
                spread.axvline(at, color=COLOURS["ink"], lw=0.9, ls=":")
                spread.annotate(
                    f"p{share}",
                    (at, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(2, -2 - 11 * (share != 50) - 11 * (share == 99)),
                    textcoords="offset points",
                    va="top",
                    ha="left" if at < low + 0.85 * (high - low) else "right",
                )
        _over_position(position, runs, style, label, band=not several)
    spread.set_title("Distribution")
    spread.set_xlabel("step, ms (to p99.5)")
    spread.set_ylabel("share of steps, %")
    position.set_title("Over the position in the answer")
    position.set_xlabel("decode step")
    position.set_ylabel("step, ms")
    position.set_ylim(bottom=0)
    for axes in (spread, position):
        axes.xaxis.set_major_locator(MaxNLocator(6 if wide else 5))
        axes.grid(True)
        axes.set_axisbelow(True)
    handles, labels = position.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3 if wide else 2)
    return ""


def _over_position(
    axes: Axes, runs: Iterable[Floats], style: str, label: str, *, band: bool
) -> None:
    """Median over the runs that reach a step, and the range of nine tenths of them."""
    arrays = [run for run in runs if len(run)]
    longest = max(map(len, arrays))
    low, middle, high = np.array(
        [
            np.percentile([run[i] for run in arrays if len(run) > i], [5, 50, 95])
            for i in range(longest)
        ]
    ).T
    where = np.arange(longest)
    if band:
        axes.fill_between(
            where, low, high, color=COLOURS["decode"], alpha=0.25, lw=0, label="p5 to p95 of runs"
        )
    name = "median of runs" if band else label
    axes.plot(where, middle, style, color=COLOURS["decode"], lw=1.3, label=name)
