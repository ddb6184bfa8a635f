"""FLOPs and bytes of operators, added up over the runs of each variant."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from mfuscope.core.records import Calibration
from mfuscope.core.runs import RunKey
from mfuscope.metrics.operator_work import (
    Matched,
    StageWork,
    TracedOperator,
    TracedPass,
    Traffic,
    match,
    pass_work,
)
from mfuscope.storage.tables import number_in
from mfuscope.traces.replays import REPLAY


@dataclass(frozen=True, slots=True)
class RunWork:
    """What a run's traced pass computes, by stage, and whether on the CPU."""

    stages: Mapping[str, StageWork]
    on_cpu: bool


def works(
    keys: Iterable[RunKey],
    traced: Mapping[RunKey, TracedPass],
    calibrations: Iterable[Calibration],
    traffic: Mapping[tuple[str, str], Traffic] | None = None,
) -> Iterator[RunWork]:
    """The work of each of these runs, in their order.

    Args:
        traffic: bytes moved in DRAM by (variant, resolution), where hardware was counted.
    """
    counted = {(one.variant, one.resolution): one for one in calibrations}
    known: dict[tuple[str, TracedPass], RunWork] = {}
    for key in keys:
        of = (key.variant, traced[key])
        if of not in known:
            calibration = counted[key.variant, of[1].resolution]
            known[of] = RunWork(
                pass_work(calibration, of[1], (traffic or {}).get((key.variant, of[1].resolution))),
                of[1].on_cpu,
            )
        yield known[of]


@dataclass(slots=True)
class _Sum:
    """An operator's sums over runs; None once a run lacks the value."""

    flops: float | None = 0.0
    dram_bytes: float | None = 0.0
    runs: int = 0
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, one: Matched) -> None:
        self.runs += 1
        self.flops = _plus(self.flops, one.flops)
        self.dram_bytes = _plus(self.dram_bytes, one.dram_bytes)
        if one.unknown:
            self.unknown[one.unknown] += 1


def _plus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


@dataclass(slots=True)
class Tally:
    """FLOPs and bytes by variant, stage and operator, added up one run at a time.

    Attributes:
        flops: of whole stages.
        operators: the sums of operators with FLOPs or bytes.
        seen: in how many runs' traces each operator is.
    """

    flops: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    operators: dict[tuple[str, str], dict[str, _Sum]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(_Sum))
    )
    seen: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, variant: str, table: pd.DataFrame, work: RunWork) -> None:
        """Add a run.

        Args:
            table: its operator table.
        """
        for stage, of_stage in work.stages.items():
            rows = table[table["stage"] == stage]
            runtime = rows.loc[rows["kind"] == "runtime", "operator"]
            traced = _traced(rows)
            found = match(
                of_stage,
                traced,
                on_cpu=work.on_cpu,
                replays=bool(runtime.str.match(REPLAY).any()),
            )
            self.flops[variant, stage] += of_stage.flops
            self.seen[variant, stage].update(traced.keys())
            for name, matched in found.items():
                self.operators[variant, stage][name].add(matched)

    def of(self, variant: str, stage: str, runs: int) -> tuple[float | None, dict[str, Matched]]:
        """Mean FLOPs per run of a stage, None where it has none, and of its operators."""
        total = self.flops.get((variant, stage))
        if total is None:
            return None, {}
        means = {}
        for name, one in self.operators[variant, stage].items():
            reasons = Counter(one.unknown)
            if (uncounted := self.seen[variant, stage][name] - one.runs) > 0:
                reasons["not counted"] += uncounted
            means[name] = Matched(
                None if one.flops is None or uncounted > 0 else one.flops / runs,
                None if one.dram_bytes is None or uncounted > 0 else one.dram_bytes / runs,
                ", ".join(
                    reason if count == runs else f"{reason} in {count} of {runs} runs"
                    for reason, count in reasons.items()
                ),
            )
        return total / runs, means


def _traced(rows: pd.DataFrame) -> dict[str, TracedOperator]:
    mine = rows[rows["kind"] == "operator"]
    columns = ("calls", "self_cpu_ms", "total_cpu_ms", "device_ms")
    return {
        str(name): TracedOperator(int(calls), self_cpu, total_cpu, number_in(device))
        for name, calls, self_cpu, total_cpu, device in zip(
            mine["operator"], *(mine[column] for column in columns), strict=True
        )
    }
