"""What the plugin knows of the call of Snakemake that it tells of."""

from collections import deque
from dataclasses import dataclass, field

RECENT_RUNS = 5  # runs that the estimate of the time left looks back on


@dataclass
class Job:
    """A job that has begun."""

    rule: str
    wildcards: dict[str, str]
    created: float  # by the time of day, which may be set meanwhile
    started: float  # by the monotonic clock, as all durations are


@dataclass
class State:
    """What is known of this call of Snakemake."""

    executing: bool = False
    interrupted: bool = False  # by Ctrl-C
    stopping: bool = False  # by Ctrl-C or SIGTERM
    halted: bool = False  # a job failed and none has begun since
    stats: dict[str, int] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)  # by job id, under way or failed
    failed: set[int] = field(default_factory=set)
    runs_done: int = 0
    reads_begun: int = 0
    told_reading: bool = False
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT_RUNS))
    ended: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_RUNS + 1))  # as started
    width: int = 0
    held: dict[int | None, str] = field(default_factory=dict)  # by thread
    batched: bool = False  # runs share allocations of a cluster: their own times are not known
    doubtful: dict[int, tuple[str, ...]] = field(default_factory=dict)  # results of failed batches
    told: set[int] = field(default_factory=set)  # jobs whose failure was told with their batch's
    refusals: set[str] = field(default_factory=set)  # of allocations, as told
