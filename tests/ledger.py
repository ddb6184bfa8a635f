"""What measured where and when, as standins/sitecustomize.py writes it down."""

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
