"""What each operator of a traced pass computes: counted FLOPs, matched by name and calls.

The calibration counts by operator. A trace may have others: implementations of attention and
experts have their own, and replays of CUDA graphs call none. So an operator's row in a trace gets
FLOPs only where its calls are the counted ones; else its FLOPs are unknown, and a reason says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mfuscope.core.records import Calibration, Run
from mfuscope.metrics.workload import more_flops, step_contexts, steps_flops

#: Bytes that one prefill and one decode step move in DRAM, by stage and operator.
Traffic = Mapping[tuple[str, str], float]


# Least share of an operator's CPU time that is its own where it computes. One that hands its work
# on keeps a few percent; one that computes may lose most of it to a child that was interrupted.
_OWN = 0.1


class TracedPass(NamedTuple):
    """What decides the work of a traced pass, beside its variant."""

    resolution: str
    steps: int
    copies: int
    on_cpu: bool

    @classmethod
    def of(cls, run: Run) -> "TracedPass":
        """That of a run."""
        return cls(
            run.page.resolution,
            run.traced.new_tokens - 1,
            run.batch_size,
            run.device.kind == "cpu",
        )


@dataclass(frozen=True, slots=True)
class Work:
    """Counted calls and FLOPs of an operator; FLOPs are None where their growth is not known."""

    calls: int
    flops: float | None


@dataclass(frozen=True, slots=True)
class StageWork:
    """The work of one stage of a traced pass, for all copies of its batch.

    Attributes:
        flops: of the whole stage.
        operators: by name.
        traffic: bytes moved in DRAM by operator; None where nothing counted them.
    """

    flops: float
    operators: Mapping[str, Work]
    traffic: Mapping[str, float] | None = None


class TracedOperator(NamedTuple):
    """Calls and times of an operator in one stage of a trace."""

    calls: int
    self_cpu_ms: float
    total_cpu_ms: float
    device_ms: float | None


@dataclass(frozen=True, slots=True)
class Matched:
    """FLOPs and DRAM bytes of an operator in a trace; `unknown` says why it has no FLOPs."""

    flops: float | None
    dram_bytes: float | None = None
    unknown: str = ""


def pass_work(
    calibration: Calibration, traced: TracedPass, traffic: Traffic | None = None
) -> dict[str, StageWork]:
    """The work of a traced pass by stage; without a decode step, of prefill alone.

    Copies of a page are computed by the same calls, of larger operands. Where one operator has all
    that grows with the context, it grows as the steps do; where several have it, their shares are
    known until a sliding window is full.
    """
    prefill = {
        name: Work(one.calls, traced.copies * one.flops)
        for name, one in calibration.prefill_operators.items()
    }
    total = traced.copies * calibration.prefill_total["counted"]
    found = {"prefill": StageWork(total, prefill, _moved(traffic, "prefill", 1))}
    if traced.steps:
        contexts = step_contexts(calibration.prompt_tokens, traced.steps + 1)
        found["decode"] = StageWork(
            traced.copies * steps_flops(calibration, contexts),
            _steps_work(calibration, contexts, traced.copies),
            _moved(traffic, "decode", traced.steps),
        )
    return found


def _steps_work(calibration: Calibration, contexts: range, copies: int) -> dict[str, Work]:
    first, second = calibration.decode_steps[:2]
    steps, more = len(contexts), sum(contexts) - len(contexts) * first.context_tokens
    whole = second.total["counted"] - first.total["counted"]
    grown = more_flops(calibration, contexts)
    found = {}
    for name, one in first.operators.items():
        other = second.operators.get(name)
        flops = None
        if other is not None and other.calls == one.calls:
            growth = other.flops - one.flops
            if growth == whole:
                flops = copies * (steps * one.flops + grown)
            elif not growth or grown == whole * more:  # no window was filled
                flops = copies * (steps * one.flops + growth * more)
        found[name] = Work(steps * one.calls, flops)
    for name in second.operators.keys() - first.operators.keys():
        found[name] = Work(steps * second.operators[name].calls, None)
    return found


def _moved(traffic: Traffic | None, stage: str, times: int) -> dict[str, float] | None:
    if traffic is None:
        return None
    return {name: times * moved for (of, name), moved in traffic.items() if of == stage}


def match(
    work: StageWork, traced: Mapping[str, TracedOperator], *, on_cpu: bool, replays: bool
) -> dict[str, Matched]:
    """The FLOPs and bytes of a stage's operators, by their names in the trace.

    Args:
        traced: the operators of the stage in the trace, by name.
        on_cpu: whether the CPU computes, so that the time of an operator is its self CPU time.
        replays: whether the stage replays CUDA graphs, whose kernels count for operators that were
            not called.
    """
    found = {}
    for name, one in work.operators.items():
        unknown = _unknown(one, traced.get(name), on_cpu, replays)
        found[name] = Matched(None if unknown else one.flops, unknown=unknown)
    for name, moved in (work.traffic or {}).items():
        known = found.get(name, Matched(None))
        timed = name in traced and traced[name].device_ms
        found[name] = Matched(known.flops, moved if timed else None, known.unknown)
    return found


def _unknown(counted: Work, traced: TracedOperator | None, on_cpu: bool, replays: bool) -> str:
    """Why the FLOPs of an operator are unknown; empty where they are known."""
    if replays:
        return "the trace replays CUDA graphs, which call no operator"
    if traced is None or not traced.calls:
        return "the trace does not call it"
    if traced.calls != counted.calls:
        return f"called {'more' if traced.calls > counted.calls else 'less'} often than counted"
    if counted.flops is None:
        return "how its FLOPs grow with the context is not known"
    if not (traced.self_cpu_ms if on_cpu else traced.device_ms):
        return "it has no time of its own in the trace"
    if on_cpu and traced.self_cpu_ms < _OWN * traced.total_cpu_ms:
        return "most of its time is that of operators that it calls"
    return ""
