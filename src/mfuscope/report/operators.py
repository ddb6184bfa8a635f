"""Operator and kernel tables of many runs, added up to one table per variant and stage."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from mfuscope.metrics.operator_work import Matched
from mfuscope.report.merging import add_up
from mfuscope.report.operator_flops import RunWork, Tally
from mfuscope.storage.tables import number_in

_KEYS = ("stage", "kind", "operator")
_SUMS = (
    "calls",
    "self_cpu_ms",
    "total_cpu_ms",
    "device_ms",
    "self_cpu_memory_bytes",
    "self_device_memory_bytes",
)
_KERNEL_SUMS = ("calls", "device_ms", "undispatched_ms")
_STAGES = ("prefill", "decode", "outside")

#: Kind of the profiler's own pauses: listed, but not part of the total of shares.
OVERHEAD = "overhead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of a stage: mean per run of a variant, in ms and bytes; None where absent.

    `device_share` and `cpu_share` are parts of the stage's device time and of its self CPU time.
    `flops` are the counted ones, also None where the operator does no arithmetic that counts;
    `unknown` says why they are not known. `dram_bytes` were moved in DRAM, by hardware counters.
    """

    kind: str
    name: str
    calls: float
    self_cpu_ms: float
    total_cpu_ms: float
    device_ms: float | None
    self_cpu_memory_bytes: float | None
    self_device_memory_bytes: float | None
    device_share: float | None
    cpu_share: float | None
    flops: float | None = None
    dram_bytes: float | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOperators:
    """The operators of one variant and stage, the longest first.

    `on_device` says whether `rows` are ranked by device time (else by self CPU time). `device_ms`
    and `self_cpu_ms` are the stage's sums per run, without the profiler's own pauses. `flops` are
    all that were counted for the stage, None where nothing was; `unknown` has the operators whose
    FLOPs are not known, with the reason, also those that the traces lack.
    """

    variant: str
    stage: str
    runs: int
    on_device: bool
    device_ms: float | None
    self_cpu_ms: float
    rows: tuple[Operator, ...]
    flops: float | None = None
    unknown: tuple[tuple[str, str], ...] = ()

    @property
    def by_cpu(self) -> tuple[Operator, ...]:
        """The rows by self CPU time."""
        return tuple(sorted(self.rows, key=lambda row: -row.self_cpu_ms))

    @property
    def lost(self) -> bool:
        """Whether a GPU computed, and every trace lost a part of it: calls of CUDA without it."""
        return not self.on_device and any(row.kind == "runtime" for row in self.rows)

    def ms(self, row: Operator) -> float | None:
        """The time in which an operator computed: of the device, or of the CPU that is it."""
        if self.lost:
            return None
        return row.device_ms if self.on_device else row.self_cpu_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel (or copy) of a stage: mean per run of a variant.

    Of `device_ms`, no operator of torch launched `undispatched_ms` (`traces.undispatched`).
    """

    kind: str
    name: str
    calls: float
    device_ms: float
    share: float
    undispatched_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageKernels:
    """The kernels of one variant and stage, the longest first."""

    variant: str
    stage: str
    runs: int
    device_ms: float
    rows: tuple[Kernel, ...]


def aggregate_operators(
    tables: Iterable[tuple[str, pd.DataFrame]], works: Iterable[RunWork] | None = None
) -> list[StageOperators]:
    """Mean per run of every operator, by variant (in order of appearance) and stage.

    Args:
        tables: (variant, operator table of one run), one for each run.
        works: what each run's traced pass computes, in the same order; without it operators have
            no FLOPs.
    """
    tally = Tally()
    if works is not None:
        tables = _tallied(tally, tables, works)
    partial: Counter[tuple[str, str]] = Counter()
    runs, total = add_up(_noted(partial, tables), _KEYS, _SUMS)
    if total is None:
        return []
    stages = []
    for variant in runs:
        for stage in _STAGES:
            mine = total[(total["variant"] == variant) & (total["stage"] == stage)]
            if len(mine):
                traced = runs[variant] - partial[variant, stage]
                stages.append(_stage(variant, stage, runs[variant], traced, mine, tally))
    return stages


def _noted(
    partial: Counter[tuple[str, str]], tables: Iterable[tuple[str, pd.DataFrame]]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables; counts those without device times, by variant and stage, as they pass."""
    for variant, table in tables:
        known = table["device_ms"].notna().groupby(table["stage"]).any()
        partial.update((variant, str(stage)) for stage in known.index[~known])
        yield variant, table


def _tallied(
    tally: Tally, tables: Iterable[tuple[str, pd.DataFrame]], works: Iterable[RunWork]
) -> Iterator[tuple[str, pd.DataFrame]]:
    for (variant, table), work in zip(tables, works, strict=True):
        tally.add(variant, table, work)
        yield variant, table


def aggregate_kernels(tables: Iterable[tuple[str, pd.DataFrame]]) -> list[StageKernels]:
    """Mean per run of every kernel, by variant (in order of appearance) and stage.

    Of prefill and decode only the runs with any kernel count: the others' traces lost them.

    Args:
        tables: (variant, kernel table of one run), one for each run.
    """
    whole: Counter[tuple[str, str]] = Counter()
    noted = _counted(whole, tables)
    runs, total = add_up(noted, ("stage", "kind", "kernel"), _KERNEL_SUMS)
    if total is None:
        return []
    stages = []
    for (variant, stage), mine in total.groupby(["variant", "stage"], sort=False):
        count = runs[str(variant)] if stage == _STAGES[-1] else whole[str(variant), str(stage)]
        device_ms = float(mine["device_ms"].sum())
        ordered = mine.sort_values(["device_ms", "kernel"], ascending=[False, True])
        rows = tuple(
            Kernel(
                kind=str(row["kind"]),
                name=str(row["kernel"]),
                calls=float(row["calls"]) / count,
                device_ms=float(row["device_ms"]) / count,
                share=float(row["device_ms"]) / device_ms if device_ms else 0.0,
                undispatched_ms=float(row["undispatched_ms"]) / count,
            )
            for row in ordered.to_dict("records")
        )
        stages.append(
            StageKernels(
                variant=str(variant),
                stage=str(stage),
                runs=count,
                device_ms=device_ms / count,
                rows=rows,
            )
        )
    return sorted(stages, key=lambda one: (list(runs).index(one.variant), _order(one.stage)))


def _counted(
    whole: Counter[tuple[str, str]], tables: Iterable[tuple[str, pd.DataFrame]]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables; counts those with rows, by variant and stage, as they pass."""
    for variant, table in tables:
        whole.update((variant, str(stage)) for stage in table["stage"].unique())
        yield variant, table


def _order(stage: str) -> int:
    return _STAGES.index(stage)


def _stage(
    variant: str, stage: str, runs: int, traced: int, table: pd.DataFrame, tally: Tally
) -> StageOperators:
    """The operators of a stage, of whose `runs` only `traced` have device times."""
    flops, matched = tally.of(variant, stage, runs)
    table = table.copy()
    sums = list(_SUMS)
    table[sums] = table[sums] / runs
    table["device_ms"] *= runs / max(traced, 1)
    own = table[table["kind"] != OVERHEAD]
    device_ms = number_in(own["device_ms"].sum(min_count=1))
    self_cpu_ms = float(own["self_cpu_ms"].sum())
    on_device = device_ms is not None
    table = table.sort_values(
        ["device_ms" if on_device else "self_cpu_ms", "self_cpu_ms", "operator"],
        ascending=[False, False, True],
        na_position="last",
    )
    rows = []
    for row in table.to_dict("records"):
        counted = row["kind"] != OVERHEAD
        found = matched.get(str(row["operator"])) if row["kind"] == "operator" else None
        found = found or Matched(None)
        rows.append(
            Operator(
                kind=str(row["kind"]),
                name=str(row["operator"]),
                calls=float(row["calls"]),
                self_cpu_ms=float(row["self_cpu_ms"]),
                total_cpu_ms=float(row["total_cpu_ms"]),
                device_ms=number_in(row["device_ms"]),
                self_cpu_memory_bytes=number_in(row["self_cpu_memory_bytes"]),
                self_device_memory_bytes=number_in(row["self_device_memory_bytes"]),
                device_share=_share(row["device_ms"], device_ms) if counted else None,
                cpu_share=_share(row["self_cpu_ms"], self_cpu_ms) if counted else None,
                flops=found.flops,
                dram_bytes=found.dram_bytes,
                unknown=found.unknown,
            )
        )
    return StageOperators(
        variant=variant,
        stage=stage,
        runs=runs,
        on_device=on_device,
        device_ms=device_ms,
        self_cpu_ms=self_cpu_ms,
        rows=tuple(rows),
        flops=flops,
        unknown=tuple((name, one.unknown) for name, one in matched.items() if one.unknown),
    )


def _share(value: object, of: float | None) -> float | None:
    part = number_in(value)
    return part / of if of and part is not None else None
