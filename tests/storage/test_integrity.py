"""Every kind of invalid file among the results is found, and nothing else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damages import DAMAGES
from hypothesis import given
from hypothesis import strategies as st
from stored import IMAGES, store_results, store_run

from mfuscope.core.runs import RunKey
from mfuscope.storage.integrity import find_invalid
from mfuscope.storage.paths import (
    CEILING,
    HARDWARE,
    TEXTS,
    RunPaths,
    calibration_key,
    stored_artefacts,
    stored_calibrations,
)

KINDS = ("record", "trace", "operators", "kernels", "activity")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    store_results(folder)
    assert find_invalid(folder) == []
    return folder


def run_paths(results: Path, image: str = IMAGES[1]) -> RunPaths:
    return RunPaths.of(results, RunKey("baseline", image, 0))


def found(results: Path) -> dict[str, set[str]]:
    """The invalid files -> what a repair removes."""
    return {
        str(finding.path.relative_to(results)): {
            str(path.relative_to(results)) for path in finding.removed
        }
        for finding in find_invalid(results)
    }


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_of_a_run_is_found(
    kind: str, damage: Callable[[Path], None], results: Path
) -> None:
    paths = run_paths(results)
    names = {name: str(getattr(paths, name).relative_to(results)) for name in KINDS}
    damage(getattr(paths, kind))
    goes = {names[kind], *([names["operators"]] if kind in ("kernels", "activity") else ())}
    assert found(results) == {names[kind]: goes}
    (finding,) = find_invalid(results)
    assert str(finding) == f"{results / names[kind]} is truncated"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_truncated_file_of_the_workflow_is_found(
    damage: Callable[[Path], None], results: Path
) -> None:
    paths = [*stored_calibrations(results), *(results / n for n in (CEILING, HARDWARE, *TEXTS))]
    for path in paths:
        whole = path.read_bytes()
        damage(path)
        name = str(path.relative_to(results))
        assert found(results) == {name: {name}}
        path.write_bytes(whole)
    assert found(results) == {}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results that every example leaves as they were."""
    folder = tmp_path_factory.mktemp("kept") / "results"
    store_results(folder)
    return folder


@given(data=st.data())
def test_any_truncation_is_found_or_harmless(data: st.DataObject, kept: Path) -> None:
    path = data.draw(st.sampled_from(stored_artefacts(kept)))
    whole = path.read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:length])
    try:
        invalid = list(found(kept))
    finally:
        path.write_bytes(whole)
    name = str(path.relative_to(kept))
    if name in TEXTS and path.suffix in (".csv", ".md"):
        # Nothing has their size: only an end within a line shows.
        harmless = whole[:length].endswith(b"\n")
    else:
        harmless = not whole[length:].strip() and path.suffix not in (".gz", ".csv")
    assert invalid == ([] if harmless else [name])


@pytest.mark.parametrize("kind", ["trace", "operators", "kernels"])
def test_a_file_of_another_run_is_found_by_its_size(kind: str, results: Path) -> None:
    path = getattr(run_paths(results), kind)
    path.write_bytes(path.read_bytes() * 2)
    (finding,) = find_invalid(results)
    assert finding.path == path
    size = path.stat().st_size
    assert finding.problem == f"has {size} bytes, but {size // 2} were recorded"


def test_records_without_sizes_are_valid(results: Path) -> None:
    """Records of before sizes were recorded."""
    for path in (run_paths(results).record, run_paths(results).activity):
        old = path.read_text().replace("trace_bytes", "was").replace("table_bytes", "were")
        path.write_text(old)
    assert found(results) == {}


def test_a_record_under_another_name_is_found(results: Path) -> None:
    paths = run_paths(results)
    shutil.copy(run_paths(results, IMAGES[0]).record, paths.record)
    problems = {finding.path: finding.problem for finding in find_invalid(results)}
    assert problems == {paths.record: f"is the record of the run baseline/{IMAGES[0]}/0"}


def test_an_activity_of_another_run_is_found_and_made_again(results: Path) -> None:
    paths = run_paths(results)
    shutil.copy(run_paths(results, IMAGES[0]).activity, paths.activity)
    (finding,) = find_invalid(results)
    assert (finding.path, finding.consequence) == (paths.activity, "it is made again")
    assert finding.problem == f"is the record of the run baseline/{IMAGES[0]}/0"


def test_a_calibration_under_another_name_is_found(results: Path) -> None:
    (path,) = stored_calibrations(results)
    other = path.with_name("512.json")
    shutil.copy(path, other)
    (finding,) = find_invalid(results)
    assert finding.path == other
    assert finding.problem == f"is the record of the calibration {calibration_key(path)}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fifo_is_found_and_not_opened(kind: str, results: Path) -> None:
    path = getattr(run_paths(results), kind)
    path.unlink()
    os.mkfifo(path)
    (finding,) = find_invalid(results)
    assert str(finding) == f"{path} is no regular file"


def test_what_is_not_there_is_not_invalid(results: Path) -> None:
    for path in stored_artefacts(results):
        path.unlink()
        assert found(results) == {}
    assert find_invalid(results / "missing") == []


def test_the_consequence_says_what_is_measured_again(results: Path) -> None:
    def consequences() -> dict[str, str]:
        return {finding.path.parts[-3]: finding.consequence for finding in find_invalid(results)}

    paths = run_paths(results)
    paths.kernels.write_bytes(b"")
    assert consequences() == {"kernels": "it is made again"}
    paths.trace.unlink()
    assert consequences() == {"kernels": "its run is measured again"}

    paths = store_run(results, RunKey("baseline", IMAGES[1], 0))
    paths.trace.write_bytes(b"")
    assert consequences() == {"traces": "its run's tables were read from it already"}
    paths.operators.unlink()
    assert consequences() == {"traces": "its run is measured again"}


def test_a_finding_is_one_short_line(results: Path) -> None:
    path = run_paths(results).record
    path.write_text(path.read_text().replace(IMAGES[1], "x\\nRemedy: \\u001b[2J" + "x" * 500))
    (finding,) = find_invalid(results)
    assert len(str(finding).splitlines()) == 1
    assert "\x1b" not in str(finding)
    assert len(str(finding)) < 200 + len(str(path))


def test_files_of_others_are_left_alone(results: Path) -> None:
    for name in ("README.md", "mine.csv", "figures/mine.svg", "baseline/runs/notes.json"):
        (results / name).write_bytes(b"")
    (results / "baseline" / "runs" / IMAGES[0] / ".0.json.77.partial").write_bytes(b"")
    assert found(results) == {}
