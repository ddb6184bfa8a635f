"""Where the artefacts lie in a folder of results (results/README.md tells what they are)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_RECORDS: Final = ("ceiling.json", "hardware.json")
_TEXTS: Final = (
    *("inputs.csv", "metrics.csv", "summary.csv", "flops.csv"),
    *("report.html", "report.md", "report.json", "stakeholder.md", "operators.md", "flops.md"),
    *("figures/roofline.svg", "figures/decode_steps.svg", "figures/time.svg"),
)


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What is made of one run: its record and trace, and what is read from the trace.

    Attributes:
        keeps_trace: whether the trace is to stay once it was read.
    """

    record: Path
    trace: Path
    operators: Path
    kernels: Path
    activity: Path
    keeps_trace: bool

    @classmethod
    def of(
        cls, results: Path, variant: str, image: str, repeat: int, *, keeps_trace: bool
    ) -> "RunFiles":
        """Their paths, whether the files are there or not."""

        def path(kind: str, suffix: str) -> Path:
            return Path(f"{results}/{variant}/{kind}/{image}/{repeat}{suffix}")  # fast

        return cls(
            record=path("runs", ".json"),
            trace=path("traces", ".json.gz"),
            operators=path("operators", ".csv"),
            kernels=path("kernels", ".csv"),
            activity=path("activity", ".json"),
            keeps_trace=keeps_trace,
        )

    def __iter__(self) -> Iterator[Path]:
        return iter((self.record, self.trace, self.operators, self.kernels, self.activity))


def records(results: Path) -> list[Path]:
    """The records that are not of a run."""
    return [results / name for name in _RECORDS] + sorted(results.glob("*/calibration/*.json"))


def texts(results: Path) -> list[Path]:
    """The tables and texts that are not of a run, each with its note (`artefacts.file_note`)."""
    return [results / name for name in _TEXTS]
