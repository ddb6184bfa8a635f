"""The decode step of a variant that the report draws, and the trace that it is from."""

from dataclasses import dataclass
from pathlib import Path

from mfuscope.core.records import Activity
from mfuscope.core.runs import RunKey
from mfuscope.core.timelines import StepTimeline
from mfuscope.storage.paths import RunPaths

_EARLIER = "its trace was read by an earlier version"


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStep:
    """A decode step of a run's traced pass.

    Attributes:
        step: None where there is none; `reason` says why.
        trace: the whole trace; empty unless it was kept.
    """

    key: RunKey
    step: StepTimeline | None
    reason: str = ""
    trace: str = ""


def traced_step(found: Activity, results: Path) -> TracedStep:
    """The step that an activity records.

    Args:
        results: the folder of the results that it is from.
    """
    key = RunKey(found.variant, found.image, found.repeat)
    trace = RunPaths.of(results, key).trace
    return TracedStep(
        key=key,
        step=found.step,
        reason="" if found.step else found.absent.get("step", _EARLIER),
        trace=str(trace) if trace.is_file() else "",
    )
