"""What was recorded of the host in each stage of a run, and what that rules out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mfuscope.core.runs import RunKey
from mfuscope.metrics.causes import CLOCK_DROP, LEAST_SHARE, STAGES, Row, Stage
from mfuscope.metrics.repeats import by_page, key_of_row
from mfuscope.report.formats import milliseconds
from mfuscope.storage.tables import number_in

#: From this share of a stage on, waiting for a CPU disturbed it.
WAIT_LIMIT = 0.05

Kind = Literal["wait", "collections", "stalls", "clock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """A stage of a run and what was recorded of it; None where nothing was.

    `stalls` are decode steps of more than twice the median one, and `stalled_ms` what they took
    beyond the median step; both 0 of prefill.
    """

    run: RunKey
    stage: Stage
    ms: float
    wait_ms: float | None
    collections_ms: float | None
    stalls: int
    stalled_ms: float
    sm_clock_mhz: float | None

    @property
    def wait_share(self) -> float | None:
        """The share of the stage in which its thread waited for a CPU."""
        return None if self.wait_ms is None or not self.ms else self.wait_ms / self.ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether the record rules out a reason for spread; None where a record is missing."""

    kind: Kind
    ruled_out: bool | None
    text: str


def starved(records: Iterable[StageRecord]) -> set[RunKey]:
    """The runs with a stage in which the measuring thread waited for a CPU for long."""
    return {one.run for one in records if (one.wait_share or 0.0) >= WAIT_LIMIT}


def stage_records(metrics: pd.DataFrame) -> list[StageRecord]:
    """What was recorded of every stage of every run.

    Args:
        metrics: metrics.csv.
    """
    rows = [row for page in by_page(metrics).values() for row in page]
    return [_record(row, stage) for row in rows for stage in STAGES]


def findings(
    records: Sequence[StageRecord], excess_ms: float, *, on_gpu: bool
) -> dict[Kind, Finding]:
    """What the record of these stages says of reasons for their spread.

    Ruled out is what took less than 5 % of `excess_ms` in all of them together, and a clock of the
    device that differed by less than 2 %.

    Args:
        excess_ms: what the stages took beyond the fastest repeats of their pages.
    """
    found = [
        _of_times("wait", "run-queue wait", [one.wait_ms for one in records], excess_ms),
        _of_times(
            "collections", "garbage collection", [one.collections_ms for one in records], excess_ms
        ),
    ]
    if any(one.stage == "decode" for one in records):
        stalls = sum(one.stalls for one in records)
        small = sum(one.stalled_ms for one in records) < LEAST_SHARE * excess_ms
        text = f"stalled steps ({stalls or 'none'})"
        found.append(Finding(kind="stalls", ruled_out=small, text=text))
    if on_gpu:
        found.append(_of_clocks([one.sm_clock_mhz for one in records]))
    return {one.kind: one for one in found}


def _of_times(kind: Kind, name: str, recorded: Sequence[float | None], excess_ms: float) -> Finding:
    known = [ms for ms in recorded if ms is not None]
    if not known or len(known) < len(recorded):
        return Finding(kind=kind, ruled_out=None, text=name)
    most = f"at most {milliseconds(max(known))} a stage" if max(known) else "none"
    small = sum(known) < LEAST_SHARE * excess_ms
    return Finding(kind=kind, ruled_out=small, text=f"{name} ({most})")


def _of_clocks(recorded: Sequence[float | None]) -> Finding:
    known = [mhz for mhz in recorded if mhz is not None]
    if not known or len(known) < len(recorded):
        return Finding(kind="clock", ruled_out=None, text="the SM clock")
    low, high = min(known), max(known)
    steady = low > (1 - CLOCK_DROP) * high
    ends = f"{high:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
    return Finding(kind="clock", ruled_out=steady, text=f"a lower SM clock ({ends} MHz)")


def _record(row: Row, stage: Stage) -> StageRecord:
    stalls, step = int(row["stalls"]), row["step_p50_ms"]
    decode = stage == "decode" and stalls > 0
    return StageRecord(
        run=key_of_row(row),
        stage=stage,
        ms=float(row[f"{stage}_ms"]),
        wait_ms=number_in(row[f"{stage}_wait_ms"]),
        collections_ms=number_in(row[f"{stage}_collections_ms"]),
        stalls=stalls if decode else 0,
        stalled_ms=float(row["stall_ms"] + stalls * step) if decode else 0.0,
        sm_clock_mhz=number_in(row["sm_clock_mhz"]),
    )
