"""The report's tables of operators and kernels."""

import re
from typing import Literal

from mfuscope.report.cells import Cell, Table, absent, amount, build, figure, label, share
from mfuscope.report.data import ReportData
from mfuscope.report.formats import fixed, listing, number, percent, plural, shortened, size
from mfuscope.report.operators import Operator, StageKernels, StageOperators

_MEMORY = ("Self CPU memory", "Self device memory")
_RATES = ("TFLOP/s", "Of ceiling", "GB/s", "GFLOPs")
_COLUMNS = (
    *("Operator", "Share", "Device ms", *_RATES, "Self CPU ms", "Total CPU ms", "Calls"),
    *("µs a call", *_MEMORY),
)
# Of C++ kernels: namespaces, and wrappers around the functor that computes.
_NAMESPACES = re.compile(
    r"at::native::|c10::|std::|\(anonymous namespace\)::|gpu_kernel_impl(_nocast)?<"
)
_NO_FLOPS = "none of its arithmetic counts as FLOPs"
_SLOWEST = 3  # operators to name that lose the most time against the ceiling


def ceiling_tflops(data: ReportData, variant: str) -> float | None:
    """The fastest matrix product measured in a variant's precision, in TFLOP/s."""
    dtype = next(one.model.dtype for one in data.variants if one.name == variant)
    return data.ceiling.gemm_tflops.get(dtype)


def operators(
    stage: StageOperators,
    most: int,
    by: Literal["device", "cpu"],
    ceiling: float | None = None,
) -> Table:
    """The operators of a stage that take the longest; the last row adds up the others.

    FLOPs, bytes and their rates stand beside the time in which the operators compute.

    Args:
        ceiling: TFLOP/s of the fastest matrix product measured.
    """
    rows = stage.rows if by == "device" else stage.by_cpu
    shown, others = rows[:most], rows[most:]
    computing = stage.on_device == (by == "device") and not stage.lost

    def part(row: Operator) -> float | None:
        return row.device_share if by == "device" else row.cpu_share

    no_device = (
        "no trace of this stage is whole" if stage.lost else "the traces hold no device event"
    )
    no_memory = "memory was not recorded"
    pause = "the profiler's own pauses are not part of the total"

    def line(row: Operator) -> dict[str, Cell]:
        return {
            "Operator": label(row.name, "" if row.kind == "operator" else row.kind),
            "Share": share(part(row), pause),
            "Device ms": figure(row.device_ms, reason=no_device),
            "Self CPU ms": figure(row.self_cpu_ms),
            "Total CPU ms": figure(row.total_cpu_ms),
            "Calls": _calls(row.calls),
            "µs a call": _per_call(row.device_ms if by == "device" else row.self_cpu_ms, row.calls),
            **(_rates(row, stage.ms(row), ceiling) if computing else {}),
            _MEMORY[0]: _bytes(row.self_cpu_memory_bytes, no_memory),
            _MEMORY[1]: _bytes(row.self_device_memory_bytes, no_memory),
        }

    lines = [line(row) for row in shown]
    if others:
        device = [row.device_ms for row in others if row.device_ms is not None]
        flops = [row.flops for row in others if row.flops is not None]
        known = {
            "Operator": Cell(f"{len(others)} others"),
            "Share": share(sum(part(row) or 0 for row in others), pause),
            "Device ms": figure(sum(device) if device else None, reason=no_device),
            "Self CPU ms": figure(sum(row.self_cpu_ms for row in others)),
            "Calls": _calls(sum(row.calls for row in others)),
            "GFLOPs": figure(sum(flops) / 1e9 if flops else None, reason=_NO_FLOPS),
        }
        different = absent("different operators do not add up")
        lines.append({column: known.get(column, different) for column in lines[0]})
    ranked = "device time" if by == "device" else "self CPU time"
    columns = [column for column in _COLUMNS if column in lines[0]]
    if by == "cpu":  # the rates beside the time that they are of
        columns.insert(2, columns.pop(columns.index("Self CPU ms")))
    return build(
        f"{stage.stage}, variant {stage.variant}: operators by {ranked}, mean of "
        f"{plural(stage.runs, 'traced run')}",
        columns,
        ([one[column] for column in columns] for one in lines),
        dropped=("Device ms", *_RATES, *_MEMORY),
    )


def _rates(row: Operator, ms: float | None, ceiling: float | None) -> dict[str, Cell]:
    """What an operator achieves in its time."""
    reason = f"unknown: {row.unknown}" if row.unknown else _NO_FLOPS
    tflops = row.flops / ms / 1e9 if row.flops is not None and ms else None
    no_ceiling = "no matrix product was measured in this precision"
    return {
        "TFLOP/s": figure(tflops, reason=reason),
        "Of ceiling": share(tflops / ceiling, no_ceiling)
        if tflops is not None and ceiling
        else absent(no_ceiling if tflops is not None else reason),
        "GB/s": figure(
            row.dram_bytes / ms / 1e6 if row.dram_bytes is not None and ms else None,
            reason="no hardware counter knows its bytes",
        ),
        "GFLOPs": figure(None if row.flops is None else row.flops / 1e9, reason=reason),
    }


def work_statement(stage: StageOperators, ceiling: float | None = None) -> str:
    """How much of a stage's FLOPs its operators carry, and which are the furthest from the ceiling.

    Empty where no FLOPs were counted for it, or where the device times are lost.
    """
    if stage.flops is None or stage.lost:
        return ""
    known = [
        (row, row.flops, ms)
        for row in stage.rows
        if row.flops is not None and (ms := stage.ms(row))
    ]
    carried = sum(flops for _, flops, _ in known) / stage.flops
    total = number(stage.flops / 1e9, 4)
    sentences = [
        f"Operators with known FLOPs cover {percent(carried, 3)} of the {total} GFLOPs counted."
    ]
    reasons: dict[str, list[str]] = {}
    for name, reason in stage.unknown:
        reasons.setdefault(reason, []).append(name)
    sentences += [
        f"FLOPs are unknown for {listing(names)}: {reason}." for reason, names in reasons.items()
    ]
    if ceiling and known:
        at_ceiling = [(row.name, flops / ceiling / 1e9, ms) for row, flops, ms in known]
        slowest = sorted(at_ceiling, key=lambda one: one[1] - one[2])[:_SLOWEST]
        parts = [
            f"{name} {number(ms)} ms ({number(least)} ms at the ceiling)"
            for name, least, ms in slowest
        ]
        # A step multiplies as few vectors as the batch has copies.
        vectors = " In decode, bandwidth may limit them." * (stage.stage == "decode")
        sentences.append(
            f"Most time lost against the ceiling of {number(ceiling)} TFLOP/s: {listing(parts)}."
            f"{vectors}"
        )
    return " ".join(sentences)


def kernel_title(name: str) -> str:
    """A kernel's name without what most of them share, so that its beginning tells it apart."""
    return _NAMESPACES.sub("", name.removeprefix("void "))


def kernels(stage: StageKernels, most: int) -> Table:
    """The kernels of a stage that take the longest; the last row adds up the others."""
    shown, others = stage.rows[:most], stage.rows[most:]
    lines = [
        (
            Cell(
                shortened(kernel_title(row.name)),
                "name",
                row.name,
                "" if row.kind == "kernel" else row.kind,
            ),
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
            f"The traces hold {parts} decode steps (setting profiler.decode_steps): calls and "
            "times of decode cover only these."
        )
    lost = [f"{one.stage} of {one.variant}" for one in data.operators if one.lost]
    if lost:
        notes.append(f"{listing(lost)}: no device times, as the traces lost kernels (see Checks).")
    elif all(row.device_ms is None for row in rows):
        notes.append(
            "The traces hold no device times: on a CPU, self CPU time is the time of the "
            "computation."
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
