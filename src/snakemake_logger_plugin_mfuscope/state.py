"""What the plugin knows of the running call of Snakemake."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from mfuscope.workflow.outlook import Outlook
from snakemake_logger_plugin_mfuscope.plan import Announced

RECENT_RUNS = 5  # runs that the estimate of the remaining time uses


@dataclass
class Job:
    """A job that has begun."""

    rule: str
    wildcards: dict[str, str]
    created: float  # wall clock, which may be set while the job runs
    started: float  # monotonic clock, as for all durations
    record: Path | None = None  # of a run, once it is measured


@dataclass
class State:
    """The state of one call."""

    outlook: Outlook | None = None
    announced: Announced = field(default_factory=Announced)  # in a dry run
    idle: bool = False  # there is nothing to do
    executing: bool = False
    interrupted: bool = False  # by Ctrl-C
    stopping: bool = False  # by Ctrl-C or SIGTERM
    halted: bool = False  # a job failed and no job has begun since
    stats: dict[str, int] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)  # by job id, under way or failed
    failed: set[int] = field(default_factory=set)
    runs_done: int = 0
    reads_begun: int = 0
    reading_reported: bool = False
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT_RUNS))
    ended: deque[float] = field(
        default_factory=lambda: deque(maxlen=RECENT_RUNS + 1)
    )  # monotonic clock
    unclaimed: dict[int | None, str] = field(default_factory=dict)  # failed commands by thread
    batched: bool = False  # runs share allocations of a cluster: no times per run
    # Results that jobs of failed batches have made, by job id.
    made: dict[int, tuple[str, ...]] = field(default_factory=dict)
    reported: set[int] = field(default_factory=set)  # jobs that were reported with their batch
    refusals: set[str] = field(default_factory=set)  # reported reasons of refused submissions
