"""Decode step times: their distribution, and the steps over their position in the answer."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mfuscope.report.data import ReportData
from mfuscope.report.figures.labels import End, label_ends
from mfuscope.report.figures.looks import Look, looks
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.names import fitted
from mfuscope.report.survey import Floats

_SHARES = (5, 50, 95)  # percentiles over the runs
_NAME = {True: 17, False: 13}  # columns of a variant's name
_MANY = 5  # variants that the figure has room for at its usual height


class _Steps(NamedTuple):
    """Steps of a variant's runs in ms, the runs without any left out."""

    name: str
    look: Look
    runs: Sequence[Floats]


def paint_decode_steps(figure: Figure, data: ReportData, wide: bool) -> str:
    """Distribution of the step times, and the steps over their position in the answer."""
    shapes = looks(data)
    found = [
        _Steps(fitted(name, _NAME[wide]), shapes[name], steps)
        for name, runs in data.survey.steps.items()
        if (steps := [run for run in runs if len(run)])
    ]
    if not found:
        return "No decode step was measured: the answers have one token."
    extra = 0.16 * max(len(found) - _MANY, 0) * (1 if wide else 2)
    figure.set_figheight(figure.get_figheight() + extra)
    spread, position = figure.subplots(*((1, 2) if wide else (2, 1)))
    height = figure.get_figheight() * (56 if wide else 23)  # of each, about, in points
    if len(found) == 1:
        _histogram(spread, found[0], wide)
    else:
        _ranges(spread, found)
    _over_position(position, found, height)
    spread.set_title("Distribution")
    position.set_title("Over the position in the answer")
    position.set_xlabel("decode step")
    position.set_ylabel("step, ms")
    for axes in (spread, position):
        axes.xaxis.set_major_locator(MaxNLocator(6 if wide else 5, integer=axes is position))
        axes.grid(True)
        axes.set_axisbelow(True)
    return ""


def _histogram(axes: Axes, one: _Steps, wide: bool) -> None:
    """How often steps take how long, up to percentile 99.5, with percentiles named."""
    values = np.concatenate(one.runs)
    low, high = float(values.min()), float(np.percentile(values, 99.5))
    high = max(high, 1.1 * low)  # steps that hardly differ are one bar, not forty
    axes.hist(
        values,
        bins=list(np.linspace(low, high, 40)),
        weights=np.full(len(values), 100 / len(values)),
        histtype="stepfilled",
        facecolor=COLOURS["decode"] + "33",
        edgecolor=COLOURS["decode"],
    )
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])  # room for the names above the bars
    for row, share in enumerate((50, 95, 99)):
        at = float(np.percentile(values, share))
        axes.axvline(at, color=COLOURS["ink"], lw=1, ls=":")
        right = at < low + 0.85 * (high - low)
        axes.annotate(
            f"p{share}",
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2 if right else -2, -2 - 11 * row),
            textcoords="offset points",
            va="top",
            ha="left" if right else "right",
        )
    axes.set_xlabel("step, ms (to p99.5)")
    axes.set_ylabel("share of steps, %")


def _ranges(axes: Axes, found: Sequence[_Steps]) -> None:
    """A row for each variant: median, middle half, p5 to p95, and p99."""
    for row, (_, look, runs) in enumerate(found):
        p5, p25, p50, p75, p95, p99 = np.percentile(np.concatenate(runs), [5, 25, 50, 75, 95, 99])
        axes.plot([p5, p95], [row, row], color=look.colour, lw=1.4)
        axes.plot([p25, p75], [row, row], color=look.colour, lw=5, solid_capstyle="butt")
        axes.plot([p99], [row], "|", color=look.colour, ms=7, mew=1.4)
        axes.plot(
            [p50], [row], look.marker, color=look.colour, mfc=COLOURS["surface"], ms=6, mew=1.4
        )
    axes.set_yticks(range(len(found)), [one.name for one in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("step, ms: median, middle half,\np5 to p95, tick at p99")


def _over_position(axes: Axes, found: Sequence[_Steps], height: float) -> None:
    """Median over the runs that reach a step; of a single variant the range of nine tenths too."""
    alone, ends = len(found) == 1, []
    for name, look, runs in found:
        where, shares = _percentiles(runs)
        colour = COLOURS["decode"] if alone else look.colour
        if alone and (shares[5] < shares[95]).any():
            axes.fill_between(where, shares[5], shares[95], facecolor=f"{colour}33", lw=0)
            for share in (5, 95):
                axes.plot(where, shares[share], color=colour, lw=0.8, label=f"p{share} of runs")
                ends.append(End(f"p{share} of runs", where[-1], shares[share][-1], colour))
        label = "median of runs" if alone else name
        dashes = (0, None) if alone else look.dashes
        single = look.marker if len(where) == 1 else ""  # one step is no line
        axes.plot(where, shares[50], marker=single, color=colour, lw=1.5, ls=dashes, label=label)
        ends.append(End("median" if alone else name, where[-1], shares[50][-1], colour))
    axes.set_ylim(bottom=0)
    label_ends(axes, ends, height)


def _percentiles(runs: Sequence[Floats]) -> tuple[Floats, Mapping[int, Floats]]:
    """Positions, and at each the percentiles over the runs that reach it."""
    longest = max(map(len, runs))
    found = [
        np.percentile([run[i] for run in runs if len(run) > i], _SHARES) for i in range(longest)
    ]
    columns = np.array(found, dtype=np.float32).T
    return np.arange(longest, dtype=np.float32), dict(zip(_SHARES, columns, strict=True))
