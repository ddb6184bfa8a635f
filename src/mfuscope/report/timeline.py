"""A decode step of the reference and of the fastest variant as time lines on one scale."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mfuscope.core.runs import RunKey
from mfuscope.core.timelines import TICK_US, StepTimeline, Track
from mfuscope.report.data import ReportData
from mfuscope.report.formats import listing, milliseconds, number, percent, plural
from mfuscope.report.timeline_shapes import (
    BOX,
    KINDS,
    LETTER,
    NAMED,
    WIDTH,
    Events,
    Shapes,
    events,
    kind_of,
    shapes,
    short_name,
    shown_name,
)
from mfuscope.report.traced_steps import TracedStep
from mfuscope.report.tried import fastest
from mfuscope.traces.intervals import union

# Heights in px: of rows by the kind of their track, of the label above a row, of the axis.
_HEIGHTS: Final = {"operators": 15, "calls": 15, "device": 30, "waiting": 8}
_LABEL, _BETWEEN, _AXIS = 18, 2, 16
_HEIGHT: Final = "The height of a bar is the share of its time that events take."
_WAITS: Final = {
    "python": "gaps: the host is in Python, between operators",
    "dispatch": "gaps: in an operator, outside of calls",
    "launch": "gaps: in a call of CUDA, mostly a launch",
    "synchronisation": "gaps: in a call that waits for the device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the drawing; `label` is empty for a row that goes on with the one above."""

    label: str
    top: int
    height: int
    shapes: Shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A step as it is drawn: px from the top, and what timeline.js needs to draw it again."""

    variant: str
    sentence: str
    rows: tuple[Row, ...]
    height: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A time on the axis, in px from the left."""

    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The drawing: what is said above and below it, its lines, axis and legend."""

    intro: str
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    legend: dict[str, str]
    notes: tuple[str, ...]
    data: dict[str, Any]


def timeline(data: ReportData) -> Timeline:
    """The drawing of this report; without lines where no step can be drawn, with the reasons."""
    chosen = _chosen(data)
    drawn = [(one, one.step) for one in chosen if one.step is not None]
    reasons: dict[str, list[str]] = {}
    for one in chosen:
        if one.step is None:
            reasons.setdefault(one.reason, []).append(one.key.variant)
    notes = [f"No step of {listing(names)} is drawn: {why}." for why, names in reasons.items()]
    if not drawn:
        return Timeline(intro="", lines=(), ticks=(), legend={}, notes=tuple(notes), data={})
    span = max(step.length_us for _, step in drawn) / TICK_US
    lines = tuple(_line(data, one, step, span) for one, step in drawn)
    used = {kind for line in lines for row in line.rows for kind in row.shapes.paths}
    notes += _notes(data, [one for one, _ in drawn])
    on_device = any(track.kind == "device" for _, step in drawn for track in step.tracks)
    rows = (
        "What the host does is above, what the device runs below, all on one time scale."
        if on_device
        else "The outermost operators are above, what they call is below."
    )
    return Timeline(
        intro=f"{rows} {_HEIGHT}",
        lines=lines,
        ticks=tuple(_ticks(span)),
        legend={kind: title for kind, title in KINDS.items() if kind in used and title},
        notes=tuple(notes),
        data={
            "span": round(span),
            "shortest": round(min(step.length_us for _, step in drawn) / TICK_US),
            "kinds": list(KINDS),
            "box": BOX,
            "named": NAMED,
            "letter": LETTER,
            "axis": _AXIS,
            "lines": [line.data for line in lines],
        },
    )


def _chosen(data: ReportData) -> list[TracedStep]:
    """The steps of the reference and of the fastest variant, where there are any."""
    best = fastest(data)
    wanted = [data.reference.name, *([best.variant.name] if best else [])]
    steps = {one.key.variant: one for one in data.traced_steps}
    return [steps[name] for name in wanted if name in steps]


def _line(data: ReportData, one: TracedStep, step: StepTimeline, span: float) -> Line:
    names = [shown_name(name) for name in step.names]
    kinds = [kind_of(name) for name in step.names]
    rows, drawn = [], []
    bottom = _AXIS
    before = None
    for track in step.tracks:
        height = _HEIGHTS[track.kind]
        label = "" if track.kind == before == "operators" else _label(track)
        before = track.kind
        top = bottom + (_LABEL if label else _BETWEEN)
        bottom = top + height
        of_row = ["wait"] * len(names) if track.kind == "waiting" else kinds
        shown = shapes(events(track), names, of_row, span, height, top)
        rows.append(Row(label=label, top=top, height=height, shapes=shown))
        drawn.append(
            {
                "label": label,
                "top": top,
                "height": height,
                "wait": track.kind == "waiting",
                "events": track.events,
            }
        )
    return Line(
        variant=one.key.variant,
        sentence=_sentence(data, one, step),
        rows=tuple(rows),
        height=bottom + 4,
        data={
            "names": names,
            "short": [short_name(name) for name in step.names],
            "kinds": [list(KINDS).index(kind) for kind in kinds],
            "rows": drawn,
        },
    )


def _label(track: Track) -> str:
    if track.kind == "operators":
        return "host: operators, outermost ones above"
    if track.kind == "calls":
        return "host: calls of CUDA"
    if track.kind == "device":
        more = f", stream {int(track.name) + 1}" if int(track.name) else ""
        return f"device: kernels and copies{more}"
    return _WAITS[track.name]


def _sentence(data: ReportData, one: TracedStep, step: StepTimeline) -> str:
    """What a line shows: which step, how long, and how busy the device is."""
    ms = step.length_us / 1e3
    of = f", the median of {step.steps} traced steps" if step.steps > 1 else ""
    text = f"decode step {step.index} of {one.key.image}, repeat {one.key.repeat}{of}: "
    text += f"{milliseconds(ms)}"
    if (timed := _timed(data, one.key)) is not None:
        text += f" with the profiler, {milliseconds(timed)} without it (the page's median step)"
    device = [events(track) for track in step.tracks if track.kind == "device"]
    if device:
        busy = _union_ticks(device) * TICK_US / 1e3
        ran = sum(len(found.start) for found in device)
        text += (
            f". The device is busy for {milliseconds(busy)} of it ({percent(busy / ms)}), "
            f"with {plural(ran, 'kernel or copy', 'kernels and copies')}"
        )
    else:
        text += ". On a CPU the operators are the work: no kernel runs elsewhere"
    return text + "."


def _timed(data: ReportData, key: RunKey) -> float | None:
    """Median decode step of the page's timed passes in ms, mean over its repeats."""
    (page,) = (one for one in data.pages if one.image == key.image)
    (measured,) = (one for one in page.measured if one.variant == key.variant)
    return measured.stats["step_p50_ms"].mean


def _union_ticks(device: list[Events]) -> int:
    return union(
        np.concatenate([found.start for found in device]),
        np.concatenate([found.end for found in device]),
    ).length


def _notes(data: ReportData, drawn: list[TracedStep]) -> Iterator[str]:
    """How to read the drawing, and where the whole traces are."""
    slow = [
        (one.key.variant, one.step.length_us / 1e3 / timed)
        for one in drawn
        if one.step is not None and (timed := _timed(data, one.key))
    ]
    if any(ratio > 1 for _, ratio in slow):
        ratios = listing([f"×{number(ratio, 2)} ({name})" for name, ratio in slow])
        yield (
            "The profiler lengthens what the host does, and with it the gaps: the steps take "
            f"{ratios} of the time without it."
        )
    traces = [one.trace for one in drawn if one.trace]
    if traces:
        yield f"The whole trace opens in Perfetto (ui.perfetto.dev): {listing(traces)}."
    else:
        yield "The whole trace was not kept (the setting profiler.keep_traces)."


def _ticks(span: float) -> Iterator[Tick]:
    """Round times at no less than 90 px from one another."""
    ms = span * TICK_US / 1e3
    least = ms * 90 / WIDTH
    power = 10.0 ** np.floor(np.log10(least))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= least)
    places = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    for place in range(int(ms / step) + 1):
        at = place * step
        x = at / ms * WIDTH
        if x <= WIDTH - 40:
            yield Tick(x=x, text=f"{at:.{places}f}" + (" ms" if not place else ""))
