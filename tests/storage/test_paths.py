"""Where artefacts lie, and which run or calibration lies under a path."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import IMAGES, store_results
from validate import artefacts

from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.storage.paths import (
    RunPaths,
    calibration_key,
    calibration_path,
    run_key,
    stored_artefacts,
    stored_runs,
)

RESULTS = Path("results")
VARIANTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]*", fullmatch=True)
IMAGE_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.~-]*", fullmatch=True)


def files(paths: RunPaths) -> tuple[Path, ...]:
    return paths.record, paths.trace, paths.operators, paths.kernels, paths.activity


def test_the_files_of_a_run_lie_where_the_schemas_say() -> None:
    paths = RunPaths.of(RESULTS, RunKey("baseline", "page.png", 3))
    assert [str(path) for path in files(paths)] == [
        "results/baseline/runs/page.png/3.json",
        "results/baseline/traces/page.png/3.json.gz",
        "results/baseline/operators/page.png/3.csv",
        "results/baseline/kernels/page.png/3.csv",
        "results/baseline/activity/page.png/3.json",
    ]
    for path in (paths.record, paths.operators, paths.kernels, paths.activity):
        assert any(path.relative_to(RESULTS).match(pattern) for pattern in artefacts())


@given(st.builds(RunKey, VARIANTS, IMAGE_NAMES, st.integers(0, 10**6)))
def test_every_file_of_a_run_names_its_run(key: RunKey) -> None:
    assert {run_key(path) for path in files(RunPaths.of(RESULTS, key))} == {key}


@given(st.builds(CalibrationKey, VARIANTS, st.from_regex(r"[0-9a-z+x-]+", fullmatch=True)))
def test_a_calibration_names_itself(key: CalibrationKey) -> None:
    assert calibration_key(calibration_path(RESULTS, key)) == key


@pytest.mark.parametrize(
    "path",
    [
        "0.json",
        "results/baseline/runs/page.png/x.json",
        "results/baseline/runs/page.png/00.json",
        "results/baseline/runs/page.png/0.csv",
        "results/baseline/calibration/page.png/0.json",
    ],
)
def test_other_paths_name_no_run(path: str) -> None:
    with pytest.raises(ValueError, match="is not results/VARIANT/KIND/IMAGE/REPEAT"):
        run_key(Path(path))


def test_other_paths_name_no_calibration() -> None:
    with pytest.raises(ValueError, match="is not results/VARIANT/calibration"):
        calibration_key(Path("results/baseline/runs/1024.json"))


def test_what_is_stored_is_listed(tmp_path: Path) -> None:
    assert stored_artefacts(tmp_path / "missing") == []
    store_results(tmp_path)
    listed = stored_artefacts(tmp_path)
    assert sorted(listed) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    keys = [RunKey("baseline", image, 0) for image in IMAGES]
    assert stored_runs(tmp_path) == keys
    for name in ("notes.json", ".1.json.77.partial", "01.json"):
        (tmp_path / "baseline" / "runs" / IMAGES[0] / name).write_text("{}")
    (tmp_path / "README.md").write_text("mine")
    assert stored_artefacts(tmp_path) == listed
    RunPaths.of(tmp_path, keys[0]).record.unlink()
    assert stored_runs(tmp_path) == keys, "its trace is there"
