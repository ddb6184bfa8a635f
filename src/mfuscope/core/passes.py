"""The passes of a run: what one ``generate`` call took, and what its host did meanwhile.

A value that could not be measured is None, and the record's `absent` maps its name to the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Clocks, temperature, power and throttling of the device at one instant, from NVML."""

    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttle_reasons: list[str] | None
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStage:
    """What the host did during one stage of a pass, as the kernel and Python's collector count it.

    Of the thread that measures; where the CPU computes, the run-queue wait is that of the thread of
    the process that waited longest, and switches and faults are those of all threads.
    """

    run_queue_wait_ms: float | None
    voluntary_switches: int | None
    involuntary_switches: int | None
    minor_faults: int | None
    major_faults: int | None
    collections: int
    collections_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a pass met on its host.

    `prefill` and `decode` are told apart where the host has the first logits: on a GPU that is
    before the device has computed them, and the wait for it counts in decode.
    """

    started_at: float
    load_1min: float | None
    steal_ms: float | None
    cpu_mhz: float | None
    gpu_processes: int | None
    prefill: HostStage
    decode: HostStage
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One ``generate`` call."""

    prefill_ms: float
    decode_ms: float
    step_ms: list[float]
    vision_ms: float | None
    projector_ms: float | None
    language_prefill_ms: float | None
    host_ms: float
    forwards: int
    new_tokens: int
    token_ids_sha256: str
    peak_memory_bytes: int | None
    energy_j: float | None
    conditions_before: Conditions
    conditions_after: Conditions
    host: Host
    absent: dict[str, str] = field(default_factory=dict)


def middle_pass(passes: Sequence[Pass], time: str) -> Pass:
    """The pass with the median of a time.

    Args:
        passes: an odd number of them, as the settings ask for.
        time: ``prefill_ms`` or ``decode_ms``.
    """
    ordered = sorted(passes, key=lambda one: float(getattr(one, time)))
    return ordered[len(ordered) // 2]


def composed(passes: Sequence[Pass]) -> Pass:
    """What the timed passes of a run say together, as one pass.

    Each stage's times, and what its host did, are those of the pass with the median of the stage
    (`middle_pass`): a time that was measured, and decode stays the sum of its steps. Energy and
    `host_ms` are medians, peak memory is the most of all; a value that one of the passes lacks is
    absent. Conditions are those before the first and after the last pass. Of the host, `started_at`
    and `load_1min` are the first pass's; of the rest, what is worse of the two passes that gave the
    times: the most steal and the most other processes on the GPU, the lower CPU frequency.

    Args:
        passes: an odd number of them, all with the same number of new tokens.
    """
    prefill, decode = middle_pass(passes, "prefill_ms"), middle_pass(passes, "decode_ms")
    first, last = passes[0], passes[-1]
    energy, peak = _known(passes, "energy_j"), _known(passes, "peak_memory_bytes")
    absent = {name: why for one in reversed(passes) for name, why in one.absent.items()}
    parts = ("vision_ms", "projector_ms", "language_prefill_ms")
    return replace(
        prefill,
        decode_ms=decode.decode_ms,
        step_ms=decode.step_ms,
        forwards=decode.forwards,
        host_ms=median(one.host_ms for one in passes),
        token_ids_sha256=first.token_ids_sha256,
        energy_j=median(energy) if energy else None,
        peak_memory_bytes=max(peak) if peak else None,
        conditions_before=first.conditions_before,
        conditions_after=last.conditions_after,
        host=_host(first.host, prefill.host, decode.host),
        absent={
            name: why for name, why in absent.items() if name not in parts or name in prefill.absent
        },
    )


def _host(first: Host, prefill: Host, decode: Host) -> Host:
    both = (prefill, decode)
    steal, processes = _known(both, "steal_ms"), _known(both, "gpu_processes")
    mhz = _known(both, "cpu_mhz")
    return Host(
        started_at=first.started_at,
        load_1min=first.load_1min,
        steal_ms=max(steal) if steal else None,
        cpu_mhz=min(mhz) if mhz else None,
        gpu_processes=max(processes) if processes else None,
        prefill=prefill.prefill,
        decode=decode.decode,
        absent=decode.absent | prefill.absent | first.absent,
    )


def _known(records: Sequence[Any], name: str) -> list[Any]:
    """The values of a field; none at all where one of the records lacks it."""
    values = [getattr(one, name) for one in records]
    return [] if None in values else values
