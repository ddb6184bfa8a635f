"""A repair removes what is invalid, and no valid measurement."""

from pathlib import Path

import pytest
from mounts import read_only
from stored import IMAGES, store_results, store_run

from mfuscope.core.errors import UserError
from mfuscope.core.runs import RunKey
from mfuscope.storage.integrity import find_invalid
from mfuscope.storage.paths import RunPaths
from mfuscope.storage.repair import repair
from mfuscope.storage.space import report_access


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    store_results(folder)
    return folder


def files(results: Path) -> set[Path]:
    return {path for path in results.rglob("*") if path.is_file()}


def test_what_is_invalid_goes_and_is_named(results: Path) -> None:
    one, other = (RunPaths.of(results, RunKey("baseline", image, 0)) for image in IMAGES)
    for path in (one.record, other.activity, results / "report.html"):
        path.write_bytes(b"")
    before = files(results)
    assert list(repair(find_invalid(results))) == [
        f"{one.record} is truncated: removed, its run is measured again",
        f"{other.activity} is truncated: removed, it is made again",
        f"{results}/report.html is truncated: removed, it is made again",
    ]
    assert before - files(results) == {
        *(one.record, other.activity, other.operators),
        results / "report.html",
    }
    assert find_invalid(results) == []


def test_a_trace_that_was_read_costs_no_measurement(results: Path) -> None:
    paths = RunPaths.of(results, RunKey("baseline", IMAGES[0], 0))
    paths.trace.write_bytes(b"")
    before = files(results)
    (line,) = repair(find_invalid(results))
    assert line.endswith("removed, its run's tables were read from it already")
    assert before - files(results) == {paths.trace}


def test_several_invalid_files_of_one_run_go_together(results: Path) -> None:
    paths = store_run(results, RunKey("eager", IMAGES[0], 7))
    made = (paths.record, paths.trace, paths.operators, paths.kernels, paths.activity)
    for path in made:
        path.write_bytes(b"")
    assert len(list(repair(find_invalid(results)))) == 5
    assert not any(path.exists() for path in made)
    assert find_invalid(results) == []


def test_what_cannot_be_removed_is_named(results: Path) -> None:
    path = RunPaths.of(results, RunKey("baseline", IMAGES[0], 0)).record
    path.write_bytes(b"")
    with (
        read_only(results),
        pytest.raises(UserError, match=r"0\.json cannot be read or removed .*Read-only"),
        report_access(results),
    ):
        list(repair(find_invalid(results)))
