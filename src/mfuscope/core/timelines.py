"""One decode step of a traced pass, event by event: what the report draws on a time line."""

from dataclasses import dataclass
from typing import Final

#: Microseconds of a tick, in which the events of a track are counted.
TICK_US: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A row of a timeline: events that follow one another.

    `kind` and `name`: ``operators`` and their level (``0`` has the outermost), ``calls`` of the
    CUDA runtime and driver, ``device`` and its streams from ``0`` on, or ``waiting`` and where the
    host is meanwhile (a field of `Waiting`, without the unit).

    `events` has three integers for each event, all separated by spaces: the ticks from the end of
    the event before it (of the first one: from the begin of the step), negative where the two
    overlap; its length in ticks; the index of its name in `StepTimeline.names`. As text, thousands
    of events take a few ten kB.
    """

    kind: str
    name: str
    events: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimeline:
    """A decode step from its begin to its end on the host, and what the device ran meanwhile.

    `index` is its place in the answer; it has the median length of `steps` traced ones.
    """

    index: int
    steps: int
    length_us: float
    names: list[str]
    tracks: list[Track]
