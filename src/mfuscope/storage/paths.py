"""Where the artefacts lie in a folder of results; results/README.md has what they are."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from mfuscope.core.runs import CalibrationKey, RunKey

#: Names of the artefacts of the whole workflow.
CEILING: Final = "ceiling.json"
HARDWARE: Final = "hardware.json"
TEXTS: Final = (
    *("inputs.csv", "metrics.csv", "summary.csv", "comparison.csv", "flops.csv"),
    *("report.html", "report.md", "report.json", "operators.md", "flops.md"),
    *("stakeholder.md", "stakeholder.html"),
    *("figures/roofline.svg", "figures/decode_steps.svg", "figures/time.svg"),
    *("figures/answer_length.svg", "figures/operator_roofline.svg"),
)

_FOLDERS: Final = {
    "record": ("runs", ".json"),
    "trace": ("traces", ".json.gz"),
    "operators": ("operators", ".csv"),
    "kernels": ("kernels", ".csv"),
    "activity": ("activity", ".json"),
}
_REPEAT: Final = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class RunPaths:
    """What is made of one run: its record and trace, and the three files read from the trace."""

    record: Path
    trace: Path
    operators: Path
    kernels: Path
    activity: Path

    @classmethod
    def of(cls, results: Path, key: RunKey) -> "RunPaths":
        """The paths, whether the files are there or not: results/VARIANT/KIND/IMAGE/REPEAT.*."""
        return cls(
            **{
                kind: Path(f"{results}/{key.variant}/{folder}/{key.image}/{key.repeat}{suffix}")
                for kind, (folder, suffix) in _FOLDERS.items()
            }
        )


def run_key(path: Path) -> RunKey:
    """Which run a record, trace, table or activity is of, by its path alone.

    Raises:
        ValueError: the path is of nothing that is made of a run.
    """
    if len(path.parts) >= 4:
        variant, folder, image, name = path.parts[-4:]
        for known, suffix in _FOLDERS.values():
            repeat = name.removesuffix(suffix)
            if folder == known and repeat != name and _REPEAT.fullmatch(repeat):
                return RunKey(variant, image, int(repeat))
    raise ValueError(f"{path} is not results/VARIANT/KIND/IMAGE/REPEAT.*")


def calibration_path(results: Path, key: CalibrationKey) -> Path:
    """Where the FLOPs of a variant's resolution lie."""
    return Path(f"{results}/{key.variant}/calibration/{key.resolution}.json")


def counters_path(results: Path, key: CalibrationKey) -> Path:
    """Where the hardware counters of a variant's resolution lie, a table of that name beside."""
    return Path(f"{results}/{key.variant}/counters/{key.resolution}.json")


def sizes_path(results: Path, variant: str) -> Path:
    """Where it lies which resolution a generic model's processor makes of which page size."""
    return Path(f"{results}/{variant}/page_sizes.json")


def calibration_key(path: Path) -> CalibrationKey:
    """Of which resolution the calibration or the counters there are, by their path alone.

    Raises:
        ValueError: the path is of neither.
    """
    if len(path.parts) < 3 or path.parts[-2] not in ("calibration", "counters"):
        raise ValueError(
            f"{path} is not results/VARIANT/calibration/RESOLUTION.json (or counters/)"
        )
    return CalibrationKey(path.parts[-3], path.stem)


def stored_runs(results: Path) -> list[RunKey]:
    """Every run of which a folder of results holds anything, sorted."""
    found = set()
    for folder, suffix in _FOLDERS.values():
        for path in results.glob(f"*/{folder}/*/*{suffix}"):
            if _REPEAT.fullmatch(path.name.removesuffix(suffix)):
                found.add(run_key(path))
    return sorted(found)


def stored_calibrations(results: Path) -> list[Path]:
    """Every calibration in a folder of results, sorted."""
    return sorted(results.glob("*/calibration/*.json"))


def stored_counters(results: Path) -> list[Path]:
    """Every record of hardware counters in a folder of results, sorted."""
    return sorted(results.glob("*/counters/*.json"))


def stored_artefacts(results: Path) -> list[Path]:
    """Every artefact in a folder of results: of runs, of resolutions, then of the workflow."""
    kinds = [field.name for field in fields(RunPaths)]
    of_runs = [
        getattr(RunPaths.of(results, key), kind) for key in stored_runs(results) for kind in kinds
    ]
    of_workflow = [results / name for name in (CEILING, HARDWARE, *TEXTS)]
    counters = stored_counters(results)
    of_resolutions = [
        *stored_calibrations(results),
        *counters,
        *(path.with_suffix(".csv") for path in counters),
    ]
    return [path for path in (*of_runs, *of_resolutions, *of_workflow) if path.exists()]
