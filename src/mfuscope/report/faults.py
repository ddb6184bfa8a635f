"""What the traces of runs lack, from metrics.csv."""

from dataclasses import dataclass

import pandas as pd

from mfuscope.core.runs import RunKey
from mfuscope.storage.tables import number_in

_STAGES = ("prefill", "decode")
_OF_DEVICE = ("lost_launches", "device_busy_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with the trace of a run.

    Attributes:
        empty: whether it holds no device event at all.
        lost: launches without their device event.
        cut, left_out: device events with impossible times, by what became of them.
        unclaimed: part of the device time that no launch claims.
        partial: stages of which so much is lost that nothing is concluded from them.
    """

    run: RunKey
    empty: bool
    lost: int
    cut: int
    left_out: int
    unclaimed: float
    partial: tuple[str, ...]


def faults(metrics: pd.DataFrame) -> list[Fault]:
    """The faults of a GPU's traces; those that are whole are left out."""
    found = []
    for row in metrics.to_dict("records"):
        lost = {stage: _number(row[f"{stage}_lost_launches"]) for stage in _STAGES}
        nothing = [f"{stage}_{what}" for stage in _STAGES for what in _OF_DEVICE]
        empty = all(pd.isna(row[name]) for name in nothing)
        one = Fault(
            run=RunKey(row["variant"], row["image"], int(row["repeat"])),
            empty=empty,
            lost=int(sum(lost.values())),
            cut=int(_number(row["trace_cut_events"])),
            left_out=int(_number(row["trace_left_out_events"])),
            unclaimed=_number(row["trace_unclaimed_share"]),
            partial=tuple(
                stage
                for stage in _STAGES
                if lost[stage] and pd.isna(row[f"{stage}_device_busy_ms"])
            ),
        )
        if empty or one.lost or one.cut or one.left_out or one.unclaimed:
            found.append(one)
    return found


def _number(value: object) -> float:
    return number_in(value) or 0.0
