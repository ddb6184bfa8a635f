"""Why repeats of a page differ: rules over the columns of metrics.csv, each with its milliseconds.

A stage of a run is held against the same stage of the page's fastest repeat, the least disturbed
one; what it took beyond is its **excess**. The rules, in this order:

| kind | the slower run | explains |
| --- | --- | --- |
| tokens | made more tokens | further steps x the fastest's median step |
| collections | collected garbage for longer | the difference |
| wait | waited longer for a CPU, able to run | the difference |
| sm_clock | had an SM clock lower by 2 % or more | busy time x (ratio of clocks - 1) |
| stalls | had more in stalled decode steps | the difference of their ms beyond the median step |
| throughout | had a longer median decode step | steps x the difference |
| parts | was slower in every part of prefill | the fastest's time x (least slow-down - 1) |
| part | was slower in one part of prefill | what the worst part took beyond `parts` |

The least slow-down is over the parts that take 10 % of prefill or more.

The first four are **causes**. The other four are **places**: they say where the time went and not
why, as nothing recorded says it. What a cause explains lies in some place too (a step that waited
for a CPU is a stalled one), so it is taken off the places, the stalls first. Together they never
explain more than the excess. What explains less than 5 % of it is left out.

**Circumstances** have no milliseconds: something that the slower run met and the fastest did not. A
circumstance is no proof, as other runs may have met it without being slow. Of those in `SHARED`,
which any run may meet by chance, `mfuscope.metrics.repeats` keeps what slow runs of the whole
variant met more of.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from mfuscope.storage.tables import number_in

#: A clock counts as lower from this share on; that of a CPU moves more.
CLOCK_DROP, CPU_CLOCK_DROP = 0.02, 0.05
#: Least share of the excess of what is named.
LEAST_SHARE = 0.05
#: Least share of a stage for a part of it to be asked whether it was slower.
LEAST_PART = 0.1

Stage = Literal["prefill", "decode"]
STAGES: tuple[Stage, ...] = ("prefill", "decode")

CAUSES = ("tokens", "collections", "wait", "sm_clock")
PLACES = ("stalls", "throughout", "parts", "part")
CIRCUMSTANCES = (
    *("sm_clock_lower", "throttled", "steal", "major_faults", "cpu_clock"),
    *("gpu_processes", "jobs", "first_run"),
)
#: Circumstances that count only where a variant's slow runs have more of them than its fast ones.
SHARED = {"steal": "steal_ms", "gpu_processes": "gpu_processes", "jobs": "overlapping_jobs"}
#: Least difference in ms of `steal_ms`: it is counted in ticks of 10 ms, summed over all CPUs.
LEAST_STEAL = 30.0

_PARTS = {"vision": "vision_ms", "projector": "projector_ms", "language": "language_prefill_ms"}

#: The columns of metrics.csv that the rules read.
COLUMNS = (
    *("variant", "image", "repeat", "new_tokens", "prefill_ms", *_PARTS.values(), "decode_ms"),
    *("step_p50_ms", "stalls", "stall_ms", "sm_clock_mhz", "throttle_reasons", "runs_before"),
    *(f"{stage}_{name}" for stage in STAGES for name in ("wait_ms", "collections_ms")),
    *(f"{stage}_{name}" for stage in STAGES for name in ("device_busy_ms", "major_faults")),
    *("steal_ms", "cpu_mhz", "gpu_processes", "overlapping_jobs"),
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A cause, a place or a circumstance.

    Attributes:
        kind: one of `CAUSES`, `PLACES` and `CIRCUMSTANCES`.
        explained_ms: what it explains of the excess; None of a circumstance.
        slow, fast: what was recorded, of the run and of the fastest one: ms, tokens, MHz, or a
            number of faults, processes or jobs; of `throughout` the median steps and of `stalls`
            what they take beyond those, in ms; of `parts` the slow-down and 1.
        name: of the slower part, or throttle reasons joined by ``+``.
        runs: how many runs it was found in.
    """

    kind: str
    explained_ms: float | None = None
    slow: float = 0.0
    fast: float = 0.0
    name: str = ""
    runs: int = 1


def causes(slow: Row, fast: Row, stage: Stage) -> tuple[Cause, ...]:
    """What explains a stage of a run against that of the page's fastest one.

    Args:
        slow, fast: rows of metrics.csv with `COLUMNS`; an empty cell claims nothing.
    """
    excess = float(slow[f"{stage}_ms"]) - float(fast[f"{stage}_ms"])
    least = LEAST_SHARE * excess
    told = _allotted(_claims(slow, fast, stage), excess)
    named = (one for one in told if (one.explained_ms or 0.0) >= least)
    return (*named, *_circumstances(slow, fast, stage, least))


def _allotted(claims: Iterable[Cause], excess: float) -> Iterator[Cause]:
    """The claims, cut so that together they explain at most the excess, and nothing twice."""
    left, inside = excess, 0.0
    for claim in claims:
        ms = max(claim.explained_ms or 0.0, 0.0)
        if claim.kind in PLACES:  # what a cause explained lies in a place
            overlap = min(inside, ms)
            inside, ms = inside - overlap, ms - overlap
        ms = min(ms, left)
        left -= ms
        inside += ms if claim.kind in CAUSES and claim.kind != "tokens" else 0.0
        if ms:
            yield replace(claim, explained_ms=ms)


def _claims(slow: Row, fast: Row, stage: Stage) -> Iterator[Cause]:
    """What each rule would explain by itself, causes before places."""
    if stage == "decode" and slow["new_tokens"] != fast["new_tokens"]:
        yield _claim("tokens", slow, fast, "new_tokens", number_in(fast["step_p50_ms"]))
    yield _claim("collections", slow, fast, f"{stage}_collections_ms")
    yield _claim("wait", slow, fast, f"{stage}_wait_ms")
    clock = _clock_drop(slow, fast, stage)
    if clock is not None and clock.kind in CAUSES:
        yield clock
    yield from _decode_places(slow, fast) if stage == "decode" else _prefill_places(slow, fast)


def _decode_places(slow: Row, fast: Row) -> Iterator[Cause]:
    if _ends(slow, fast, "step_p50_ms") is None:  # a single token: no step
        return
    # `stall_ms` is beyond twice the median step; this is beyond the median step.
    stalled = tuple(
        float(row["stall_ms"] + row["stalls"] * row["step_p50_ms"]) for row in (slow, fast)
    )
    yield _cause("stalls", (stalled[0], stalled[1]), stalled[0] - stalled[1])
    steps = min(int(slow["new_tokens"]), int(fast["new_tokens"])) - 1
    yield _claim("throughout", slow, fast, "step_p50_ms", steps)


def _prefill_places(slow: Row, fast: Row) -> Iterator[Cause]:
    of_slow, of_fast = _parts(slow), _parts(fast)
    whole = float(fast["prefill_ms"])
    large = [name for name, ms in of_fast.items() if ms >= LEAST_PART * whole]
    if of_slow.keys() != of_fast.keys() or not large:
        return
    ratio = max(1.0, min(of_slow[name] / of_fast[name] for name in large))
    yield _cause("parts", (ratio, 1.0), whole * (ratio - 1))
    beyond = {name: ms - ratio * of_fast[name] for name, ms in of_slow.items()}
    most = max(beyond, key=lambda name: beyond[name])
    yield _cause("part", (of_slow[most], of_fast[most]), beyond[most], most)


def _parts(row: Row) -> dict[str, float]:
    """Times of prefill's parts, the rest included; empty where one that it needs is not known.

    A model may have no projector.
    """
    known = {name: number_in(row[metric]) for name, metric in _PARTS.items()}
    found = {name: ms for name, ms in known.items() if ms is not None}
    if not {"vision", "language"} <= found.keys():
        return {}
    return found | {"rest": float(row["prefill_ms"]) - sum(found.values())}


def _circumstances(slow: Row, fast: Row, stage: Stage, least: float) -> Iterator[Cause]:
    """What the slower run met and the fastest did not; `least` in ms."""
    clock = _clock_drop(slow, fast, stage)
    if clock is not None and clock.kind in CIRCUMSTANCES:
        yield clock
    reasons = _reasons(slow) - _reasons(fast)
    if reasons:
        yield Cause(kind="throttled", name="+".join(sorted(reasons)))
    for kind, column, more in (
        ("steal", "steal_ms", max(least, LEAST_STEAL)),
        ("major_faults", f"{stage}_major_faults", 1.0),
    ):
        ends = _ends(slow, fast, column)
        if ends and ends[0] - ends[1] >= more:
            yield _cause(kind, ends)
    for kind, column in (("gpu_processes", "gpu_processes"), ("jobs", "overlapping_jobs")):
        ends = _ends(slow, fast, column)
        if ends and ends[0] > ends[1] == 0:
            yield _cause(kind, ends)
    ends = _ends(slow, fast, "cpu_mhz")
    if ends and ends[0] < (1 - CPU_CLOCK_DROP) * ends[1]:
        yield _cause("cpu_clock", ends)


def _claim(kind: str, slow: Row, fast: Row, column: str, scale: float | None = 1.0) -> Cause:
    """A claim of the difference of a column x `scale`; of nothing where one is absent."""
    ends = _ends(slow, fast, column)
    if not ends or scale is None:
        return Cause(kind=kind)
    return _cause(kind, ends, scale * (ends[0] - ends[1]))


def _clock_drop(slow: Row, fast: Row, stage: Stage) -> Cause | None:
    """A lower SM clock; how much it explains is not known without the device's busy time."""
    ends, busy = _ends(slow, fast, "sm_clock_mhz"), number_in(fast[f"{stage}_device_busy_ms"])
    if not ends or ends[0] >= (1 - CLOCK_DROP) * ends[1]:
        return None
    if busy is None:
        return _cause("sm_clock_lower", ends)
    return _cause("sm_clock", ends, busy * (ends[1] / ends[0] - 1))


def _cause(kind: str, ends: tuple[float, float], ms: float | None = None, name: str = "") -> Cause:
    return Cause(kind=kind, explained_ms=ms, slow=ends[0], fast=ends[1], name=name)


def _ends(slow: Row, fast: Row, column: str) -> tuple[float, float] | None:
    """A column of both runs; None where one of the cells is empty."""
    of_slow, of_fast = number_in(slow[column]), number_in(fast[column])
    return None if of_slow is None or of_fast is None else (of_slow, of_fast)


def _reasons(row: Row) -> set[str]:
    reasons = row["throttle_reasons"]
    return set() if pd.isna(reasons) or reasons == "none" else set(str(reasons).split("+"))
