"""Columns of metrics.csv about a run's timed passes, their host and their session."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mfuscope.core.passes import Conditions, Pass, middle_pass
from mfuscope.core.records import Activity, Run


def pass_columns(run: Run) -> dict[str, object]:
    """How a run's timed passes varied, and what their host and device did meanwhile.

    Of each stage, the host's figures are those of the pass that gave its time.
    """
    timed, passes = run.timed, run.passes
    prefill, decode, host = timed.host.prefill, timed.host.decode, timed.host
    of_stages = (middle_pass(passes, "prefill_ms"), middle_pass(passes, "decode_ms"))
    conditions = [one for p in of_stages for one in (p.conditions_before, p.conditions_after)]
    return {
        "sm_clock_mhz": _clock(conditions),
        "throttle_reasons": _throttled(conditions),
        "timed_passes": len(passes),
        "prefill_spread": _spread(passes, "prefill_ms"),
        "decode_spread": _spread(passes, "decode_ms"),
        "prefill_wait_ms": prefill.run_queue_wait_ms,
        "decode_wait_ms": decode.run_queue_wait_ms,
        "prefill_involuntary_switches": prefill.involuntary_switches,
        "decode_involuntary_switches": decode.involuntary_switches,
        "prefill_major_faults": prefill.major_faults,
        "decode_major_faults": decode.major_faults,
        "prefill_collections_ms": prefill.collections_ms,
        "decode_collections_ms": decode.collections_ms,
        "steal_ms": host.steal_ms,
        "load_1min": host.load_1min,
        "cpu_mhz": host.cpu_mhz,
        "gpu_processes": host.gpu_processes,
        "session": run.session.call,
        "process": run.session.process,
    }


def _spread(passes: Sequence[Pass], time: str) -> float | None:
    """(longest - shortest) ÷ median of a time; None for a single pass, and for a time of 0."""
    times = [float(getattr(one, time)) for one in passes]
    middle = float(getattr(middle_pass(passes, time), time))
    return (max(times) - min(times)) / middle if len(times) > 1 and middle else None


def _clock(conditions: Sequence[Conditions]) -> float | None:
    """The lowest SM clock in MHz: a drop explains more than a recovery."""
    known = [one.sm_clock_mhz for one in conditions if one.sm_clock_mhz is not None]
    return min(known, default=None)


def _throttled(conditions: Sequence[Conditions]) -> str | None:
    """Throttle reasons joined by `+`, or `none`; None where not known."""
    known = [one.throttle_reasons for one in conditions if one.throttle_reasons is not None]
    found = sorted({reason for reasons in known for reason in reasons})
    return ("+".join(found) or "none") if known else None


@dataclass(frozen=True, slots=True)
class Span:
    """When the timed passes of a run went on, and where: intervals of Unix seconds."""

    call: str
    host: str
    passes: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, run: Run) -> "Span":
        """The span of a run."""
        starts = [(one.host.started_at, one.host_ms / 1e3) for one in run.passes]
        intervals = tuple((start, start + seconds) for start, seconds in starts)
        return cls(run.session.call, run.session.host, intervals)


@dataclass(frozen=True, slots=True)
class Reading:
    """When a job read a trace, and where: Unix seconds."""

    host: str
    started: float
    ended: float

    @classmethod
    def of(cls, activity: Activity) -> "Reading":
        """The reading of a run's trace."""
        return cls(activity.host, activity.reading_started, activity.reading_ended)


def orders(spans: Sequence[Span]) -> list[int]:
    """The rank of each run among the runs of its call, by the start of its first timed pass."""
    ranks: dict[str, int] = defaultdict(int)
    found = [0] * len(spans)
    for place in sorted(range(len(spans)), key=lambda place: spans[place].passes[0][0]):
        found[place] = ranks[spans[place].call]
        ranks[spans[place].call] += 1
    return found


def overlaps(spans: Iterable[Span], readings: Iterable[Reading]) -> list[int]:
    """How many readings on the same host met a timed pass of each run."""
    on_host: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for reading in readings:
        on_host[reading.host].append((reading.started, reading.ended))
    times = {host: np.array(found) for host, found in on_host.items()}
    counts = []
    for span in spans:
        met = np.zeros(len(on_host[span.host]), dtype=bool)
        for start, end in span.passes if len(met) else ():
            started, ended = times[span.host].T
            met |= (started < end) & (ended > start)
        counts.append(int(met.sum()))
    return counts
