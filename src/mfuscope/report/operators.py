"""Operator tables of many runs, added up to one table per variant and stage.

Tables are read one at a time and merged in batches: memory grows with the number of different
operators, not with the number of runs.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

_KEYS = ["variant", "stage", "kind", "operator"]
_SUMS = [
    "calls",
    "self_cpu_ms",
    "total_cpu_ms",
    "device_ms",
    "self_cpu_memory_bytes",
    "self_device_memory_bytes",
]
_BATCH = 64
_STAGES = ("prefill", "decode", "outside")

#: The profiler's own pauses: listed, but no part of the total that shares are of.
OVERHEAD = "overhead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of a stage: mean per run of a variant, in ms and bytes; None is absent.

    `share` is the part of the stage's device time where there is any, else of its self CPU time.
    """

    kind: str
    name: str
    calls: float
    self_cpu_ms: float
    total_cpu_ms: float
    device_ms: float | None
    self_cpu_memory_bytes: float | None
    self_device_memory_bytes: float | None
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOperators:
    """The operators of one variant and stage, the longest first.

    `on_device` says whether `rows` are ranked by device time (else by self CPU time). `device_ms`
    and `self_cpu_ms` are the stage's sums per run, without the profiler's own pauses.
    """

    variant: str
    stage: str
    runs: int
    on_device: bool
    device_ms: float | None
    self_cpu_ms: float
    rows: tuple[Operator, ...]


def aggregate_operators(tables: Iterable[tuple[str, pd.DataFrame]]) -> list[StageOperators]:
    """Mean per run of every operator, by variant (in order of appearance) and stage.

    Args:
        tables: (variant, operator table of one run), one for each run.
    """
    runs: Counter[str] = Counter()
    total: pd.DataFrame | None = None
    batch: list[pd.DataFrame] = []
    for variant, table in tables:
        runs[variant] += 1
        if len(table):
            batch.append(table.assign(variant=variant)[_KEYS + _SUMS])
        if len(batch) == _BATCH:
            total = _add_up(batch, total)
            batch = []
    if batch:
        total = _add_up(batch, total)
    if total is None:
        return []
    stages = []
    for variant in runs:
        for stage in _STAGES:
            mine = total[(total["variant"] == variant) & (total["stage"] == stage)]
            if len(mine):
                stages.append(_stage(variant, stage, runs[variant], mine))
    return stages


def _add_up(batch: list[pd.DataFrame], total: pd.DataFrame | None) -> pd.DataFrame:
    parts = batch if total is None else [total, *batch]
    # As doubles: a batch whose column is empty would otherwise bring its own type.
    parts = [part.astype(dict.fromkeys(_SUMS, "float64")) for part in parts]
    # min_count: where every value is absent, so is the sum.
    grouped = pd.concat(parts, ignore_index=True).groupby(_KEYS, sort=False)
    return grouped[_SUMS].sum(min_count=1).reset_index()


def _stage(variant: str, stage: str, runs: int, table: pd.DataFrame) -> StageOperators:
    table = table.copy()
    table[_SUMS] = table[_SUMS] / runs
    own = table[table["kind"] != OVERHEAD]
    device_ms = _optional(own["device_ms"].sum(min_count=1))
    self_cpu_ms = float(own["self_cpu_ms"].sum())
    on_device = device_ms is not None
    by, of = ("device_ms", device_ms) if on_device else ("self_cpu_ms", self_cpu_ms)
    table = table.sort_values(
        [by, "self_cpu_ms", "operator"], ascending=[False, False, True], na_position="last"
    )
    rows = []
    for row in table.to_dict("records"):
        counted = row["kind"] != OVERHEAD and of and not pd.isna(row[by])
        rows.append(
            Operator(
                kind=str(row["kind"]),
                name=str(row["operator"]),
                calls=float(row["calls"]),
                self_cpu_ms=float(row["self_cpu_ms"]),
                total_cpu_ms=float(row["total_cpu_ms"]),
                device_ms=_optional(row["device_ms"]),
                self_cpu_memory_bytes=_optional(row["self_cpu_memory_bytes"]),
                self_device_memory_bytes=_optional(row["self_device_memory_bytes"]),
                share=float(row[by]) / of if counted and of else None,
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
    )


def _optional(value: object) -> float | None:
    return None if pd.isna(value) else float(value)  # type: ignore[call-overload, arg-type]
