"""What measured where and when, as standins/sitecustomize.py writes it down."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Deed(NamedTuple):
    """A line of the ledger; `what` is `build` or `generate`, times are seconds since the epoch."""

    job: str
    device: str
    worker: str
    what: str
    started: float
    ended: float


def deeds(ledger: Path) -> list[Deed]:
    """Every line, in the order in which things ended; none before the first."""
    found = []
    for line in ledger.read_text().splitlines() if ledger.exists() else []:
        job, device, worker, what, started, ended = line.split()
        found.append(Deed(job, device, worker, what, float(started), float(ended)))
    return found


def seconds_together(one: Sequence[Deed], other: Sequence[Deed]) -> float:
    """For how long some deed of the one was under way at the same time as one of the other."""
    spans = [(max(a.started, b.started), min(a.ended, b.ended)) for a in one for b in other]
    return sum(max(0.0, end - begin) for begin, end in spans)


def described(deeds: Sequence[Deed], since: float) -> str:
    """What a job did, in words: from its first deed to its last, in seconds since then."""
    first, last = min(deed.started for deed in deeds), max(deed.ended for deed in deeds)
    job, device, *_ = deeds[0]
    return f"job {job} on {device}: {first - since:.1f} to {last - since:.1f} s"
