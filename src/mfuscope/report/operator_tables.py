"""The report's tables of operators and kernels."""

from typing import Literal

from mfuscope.report.cells import Cell, Table, absent, amount, build, figure, label, share
from mfuscope.report.data import ReportData
from mfuscope.report.formats import fixed, listing, number, percent, plural, shortened, size
from mfuscope.report.operators import Operator, StageKernels, StageOperators

_MEMORY = ("Self CPU memory", "Self device memory")


def operators(stage: StageOperators, most: int, by: Literal["device", "cpu"]) -> Table:
    """The operators of a stage that take the longest; the last row adds up the others."""
    rows = stage.rows if by == "device" else stage.by_cpu
    shown, others = rows[:most], rows[most:]

    def part(row: Operator) -> float | None:
        return row.device_share if by == "device" else row.cpu_share

    def time(row: Operator) -> float | None:
        return row.device_ms if by == "device" else row.self_cpu_ms

    no_device, no_memory = "the traces hold no device event", "memory was not recorded"
    pause = "the profiler's own pauses are not part of the total"
    lines = [
        (
            label(row.name, "" if row.kind == "operator" else row.kind),
            share(part(row), pause),
            figure(row.device_ms, reason=no_device),
            figure(row.self_cpu_ms),
            figure(row.total_cpu_ms),
            _calls(row.calls),
            _per_call(time(row), row.calls),
            _bytes(row.self_cpu_memory_bytes, no_memory),
            _bytes(row.self_device_memory_bytes, no_memory),
        )
        for row in shown
    ]
    if others:
        device = [row.device_ms for row in others if row.device_ms is not None]
        lines.append(
            (
                Cell(f"{len(others)} others"),
                share(sum(part(row) or 0 for row in others), pause),
                figure(sum(device) if device else None, reason=no_device),
                figure(sum(row.self_cpu_ms for row in others)),
                absent("total times nest: they do not add up"),
                _calls(sum(row.calls for row in others)),
                absent("different operators"),
                absent("not added up"),
                absent("not added up"),
            )
        )
    ranked = "device time" if by == "device" else "self CPU time"
    return build(
        f"{stage.stage}, variant {stage.variant}: operators by {ranked}, mean of "
        f"{plural(stage.runs, 'traced run')}",
        (
            "Operator",
            "Share",
            "Device ms",
            "Self CPU ms",
            "Total CPU ms",
            "Calls",
            "µs a call",
            *_MEMORY,
        ),
        lines,
        dropped=("Device ms", *_MEMORY),
    )


def kernels(stage: StageKernels, most: int) -> Table:
    """The kernels of a stage that take the longest; the last row adds up the others."""
    shown, others = stage.rows[:most], stage.rows[most:]
    lines = [
        (
            Cell(shortened(row.name), "name", row.name, "" if row.kind == "kernel" else row.kind),
            amount(percent(row.share)),
            figure(row.device_ms),
            _calls(row.calls),
            _per_call(row.device_ms, row.calls),
        )
        for row in shown
    ]
    if others:
        lines.append(
            (
                Cell(f"{len(others)} others"),
                amount(percent(sum(row.share for row in others))),
                figure(sum(row.device_ms for row in others)),
                _calls(sum(row.calls for row in others)),
                absent("different kernels"),
            )
        )
    return build(
        f"{stage.stage}, variant {stage.variant}: kernels by device time, mean of "
        f"{plural(stage.runs, 'traced run')}",
        ("Kernel", "Share", "Device ms", "Calls", "µs a call"),
        lines,
    )


def operator_notes(data: ReportData) -> list[str]:
    """Why columns of the operator tables are missing, where they are."""
    rows = [row for stage in data.operators for row in stage.rows]
    if not rows:
        return ["The traces hold no operators."]
    notes = []
    short = sorted({steps for steps in data.survey.traced_steps if steps[0] < steps[1]})
    if short:
        parts = listing([f"{traced} of {timed}" for traced, timed in short])
        notes.append(
            f"The traced passes have {parts} decode steps (profiler.decode_steps): calls and times "
            "of decode cover only these."
        )
    if all(row.device_ms is None for row in rows):
        notes.append(
            "There is no device time, as the traces hold no device event: on a CPU, self CPU "
            "time is the time of the computation."
        )
    if all(row.self_cpu_memory_bytes is None for row in rows):
        notes.append("Memory was not recorded (setting profiler.profile_memory).")
    return notes


def _calls(value: float) -> Cell:
    """Mean calls per run; an integer if all runs have the same number."""
    return amount(fixed(value, 0) if value.is_integer() else number(value))


def _bytes(value: float | None, reason: str) -> Cell:
    return absent(reason) if value is None else amount(size(value))


def _per_call(ms: float | None, calls: float) -> Cell:
    if ms is None or not calls:
        return absent("no call of its own")
    return figure(ms / calls * 1e3)
