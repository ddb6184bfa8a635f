"""Results that are not as they were written, of every kind, and dates that lie in the future."""

import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import pytest
from damages import DAMAGES
from mounts import read_only

from mfuscope.core.errors import InvalidFileError, UserError
from mfuscope.core.records import Run
from mfuscope.storage.artefacts import (
    file_note,
    write_bytes,
    write_columns,
    write_json,
    write_noted,
    write_noted_json,
)
from mfuscope.storage.integrity import find_damage
from mfuscope.storage.paths import RunFiles, records, texts
from mfuscope.storage.repair import mend
from mfuscope.storage.tables import read_table
from mfuscope.storage.validation import read_record

PAGES = ("a.png", "b.png")
KINDS = ("record", "trace", "operators", "kernels", "activity")
RUN, ACTIVITY = "baseline/runs/b.png/0.json", "baseline/activity/b.png/0.json"
CALIBRATION = "baseline/calibration/1024.json"


def run_files(results: Path, image: str, repeat: int = 0, *, keeps_trace: bool = True) -> RunFiles:
    return RunFiles.of(results, "baseline", image, repeat, keeps_trace=keeps_trace)


def make_run(files: RunFiles) -> None:
    """A run's files as the jobs write them."""
    trace = gzip.compress(os.urandom(2000))
    write_bytes(files.trace, trace)
    image, repeat = files.record.parent.name, int(files.record.stem)
    made = builders.run(trace_bytes=len(trace), image=image, repeat=repeat)
    write_json(files.record, made)
    sizes = {
        "operators": write_columns(files.operators, {"operator": ["aten::mm"] * 50}),
        "kernels": write_columns(files.kernels, {"kernel": ["gemm"] * 50}),
    }
    write_json(files.activity, builders.activity(table_bytes=sizes))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of one run of each page, as they should be."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results")
    for page in PAGES:
        make_run(run_files(folder, page))
    write_json(folder / "baseline" / "calibration" / "1024.json", builders.calibration())
    write_json(folder / "ceiling.json", builders.ceiling())
    write_json(folder / "hardware.json", builders.hardware())
    for text in texts(folder):
        write_noted(text, "a line of a table or a text\n" * 50)
    write_noted_json(folder / "report.json", {"title": "a report", "variants": []})
    runs = [run_files(folder, page) for page in PAGES]
    assert find_damage(folder, runs) == []
    assert list(mend(folder, runs, look_only=False)) == []
    return folder


def damaged(results: Path, **changes: bool) -> dict[str, set[str]]:
    """What is found damaged -> what would be removed for it."""
    runs = [run_files(results, page, **changes) for page in PAGES]
    return {
        str(damage.path.relative_to(results)): {
            str(path.relative_to(results)) for path in damage.outdated
        }
        for damage in find_damage(results, runs)
    }


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(
    ("kind", "also"),
    [
        ("record", []),
        ("trace", ["record"]),
        ("operators", []),
        ("kernels", ["operators"]),
        ("activity", ["operators"]),
    ],
)
def test_a_damaged_file_of_a_run_is_found(
    kind: str, also: list[str], damage: Callable[[Path], None], results: Path
) -> None:
    run = run_files(results, "b.png")
    names = {name: str(getattr(run, name).relative_to(results)) for name in KINDS}
    damage(getattr(run, kind))
    assert damaged(results) == {names[kind]: {names[name] for name in (kind, *also)}}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_of_the_workflow_is_found(
    damage: Callable[[Path], None], results: Path
) -> None:
    for path in (*records(results), *texts(results)):
        whole = path.read_bytes()
        damage(path)
        name = str(path.relative_to(results))
        assert damaged(results) == {name: {name}}
        path.write_bytes(whole)
    assert damaged(results) == {}


def test_every_byte_counts(results: Path) -> None:
    run = run_files(results, "a.png")
    for path in (*run, results / "metrics.csv", results / "ceiling.json"):
        whole = path.read_bytes()
        # Of JSON the last byte is a line's end, which nobody misses.
        path.write_bytes(whole[: -2 if path.suffix == ".json" else -1])
        assert len(damaged(results)) == 1, path
        path.write_bytes(whole)


def test_what_is_not_there_is_not_damaged(results: Path) -> None:
    run = run_files(results, "a.png")
    for path in (*run, *records(results), *texts(results)):
        path.unlink()
        assert damaged(results) == {}


def test_a_trace_that_need_not_be_kept_costs_no_measurement(results: Path) -> None:
    run = run_files(results, "a.png", keeps_trace=False)
    run.trace.write_bytes(b"")
    (damage,) = find_damage(results, [run])
    assert damage.outdated == (run.trace,)
    assert str(damage).endswith("is cut short and will be removed, as it need not be kept")


def test_a_table_without_its_trace_costs_a_measurement(results: Path) -> None:
    run = run_files(results, "a.png")
    run.kernels.write_bytes(b"")
    again = f"{run.kernels} is cut short and"
    assert [str(one) for one in find_damage(results, [run])] == [f"{again} will be made again"]
    run.trace.unlink()
    (damage,) = find_damage(results, [run])
    assert str(damage) == f"{again} its run will be measured again"


def test_results_of_other_runs_are_left_alone(results: Path) -> None:
    run = run_files(results, "a.png", repeat=7)
    make_run(run)
    run.record.write_bytes(b"")
    assert damaged(results) == {}


# What is whole JSON but no such record: the file, the way to a value, what stands there instead,
# and what is told. None leaves the value out.
UNSOUND: dict[str, tuple[str, str, Any, str]] = {
    "run without its timed pass": (RUN, "timed", None, "missing required field `timed`"),
    "text for a number": (RUN, "timed.prefill_ms", "fast", "`$.timed.prefill_ms`"),
    "time of 0": (RUN, "traced.prefill_ms", 0.0, "its traced pass"),
    "no stages": (ACTIVITY, "stages", {}, "no stage `prefill`"),
    "no speeds": ("ceiling.json", "gemm_tflops", None, "missing required field `gemm_tflops`"),
    "speeds of others": ("ceiling.json", "gemm_tflops", {"fp32": 1.0}, "no speed of bf16"),
    "nothing": ("hardware.json", "", {}, "missing required field"),
    "peaks of others": ("hardware.json", "peaks", {}, "no peak of bf16"),
    "totals of null": (CALIBRATION, "prefill_total", [], "got `array` - at `$.prefill_total`"),
    "nothing counted": (CALIBRATION, "prefill_total", {"directional": 1}, "no counted FLOPs"),
    "no decode steps": (CALIBRATION, "decode_steps", [], "no two decode steps"),
}


@pytest.mark.parametrize(("file", "key", "value", "finding"), UNSOUND.values(), ids=UNSOUND)
def test_whole_json_that_is_no_such_record_is_found(
    file: str, key: str, value: Any, finding: str, results: Path
) -> None:
    path = results / file
    whole: dict[str, Any] = json.loads(path.read_bytes())
    *outer, name = key.split(".")
    inner = whole
    for one in outer:
        inner = inner[one]
    inner.pop(name, None)
    if value is not None:
        inner[name] = value
    path.write_text(json.dumps(whole if key else value))
    runs = [run_files(results, page) for page in PAGES]
    (told,) = list(mend(results, runs, look_only=False))
    assert told.startswith(f"{path} is no ")
    assert finding in told
    assert told.endswith(" again")
    assert not path.exists()


def test_a_record_that_is_read_all_the_same_is_named_with_a_remedy(results: Path) -> None:
    path = run_files(results, "a.png").record
    path.write_text("{}")
    with pytest.raises(InvalidFileError, match=rf"^{path} is no run record .*`rm {path}` and run"):
        read_record(path, Run)


def flip(path: Path, place: int) -> None:
    """One bit of a file is another one."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["metrics.csv", "summary.csv", "inputs.csv", "report.json"])
@pytest.mark.parametrize("place", [0, 30, -2])
def test_one_other_bit_in_what_programs_read_is_found(name: str, place: int, results: Path) -> None:
    flip(results / name, place)
    assert damaged(results) == {name: {name}}
    (told,) = list(mend(results, [], look_only=True))
    assert told == f"{results / name} is not as it was written and will be made again"


def test_a_record_that_holds_nothing_is_no_report(results: Path) -> None:
    (results / "report.json").write_text("{}")
    assert list(damaged(results)) == ["report.json"]


def test_a_table_that_is_read_all_the_same_is_named_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    columns: dict[str, Any] = {"names": ["variant"], "numbers": ["prefill_ms"]}
    path.write_text("variant,prefill_ms\n01,2.5\n")
    assert read_table(path, **columns)["variant"][0] == "01"
    for text, finding in (
        ("vasiant,prefill_ms\n01,2.5\n", "lacks the column 'variant'"),
        ("variant,prefill_ms\n01,2n5\n", "holds what is no number in the column 'prefill_ms'"),
        ("", "is no table"),
    ):
        path.write_text(text)
        with pytest.raises(
            InvalidFileError, match=rf"metrics\.csv {finding}.*`rm .*metrics\.csv` and"
        ):
            read_table(path, **columns)


def test_other_than_noted_is_somebodys_own_in_what_people_read(results: Path) -> None:
    path = results / "report.md"
    path.write_text(path.read_text().replace("line", "word") + "a remark\n")
    assert damaged(results) == {}


@pytest.mark.parametrize("note", [None, b"", b"\0\0\0\0"])
def test_without_a_note_the_end_alone_tells(note: bytes | None, results: Path) -> None:
    path = results / "summary.csv"
    if note is None:
        file_note(path).unlink()
    else:
        file_note(path).write_bytes(note)
    assert damaged(results) == {}
    DAMAGES["zeros"](path)
    assert list(damaged(results)) == ["summary.csv"]


def test_records_of_before_sizes_were_recorded_are_whole(results: Path) -> None:
    run = run_files(results, "a.png")
    old = run.record.read_text().replace("trace_bytes", "traces_were")
    run.record.write_text(old)
    assert damaged(results) == {}


def test_mending_removes_what_is_damaged_and_says_so(results: Path) -> None:
    runs = [run_files(results, page) for page in PAGES]
    for path in (runs[0].record, runs[1].activity, results / "report.html"):
        path.write_bytes(b"")
    before = {path for path in results.rglob("*") if path.is_file()}
    told = [
        "results/baseline/runs/a.png/0.json is cut short and will be measured again",
        "results/baseline/activity/b.png/0.json is cut short and will be made again",
        "results/report.html is cut short and will be made again",
    ]
    assert list(mend(results, runs, look_only=True)) == told
    assert {path for path in results.rglob("*") if path.is_file()} == before
    assert list(mend(results, runs, look_only=False)) == told
    after = {path for path in results.rglob("*") if path.is_file()}
    assert before - after == {
        *(runs[0].record, runs[1].activity, runs[1].operators),
        results / "report.html",
    }


def test_much_damage_is_told_in_few_lines(results: Path) -> None:
    runs = [run_files(results, "a.png", repeat) for repeat in range(13)]
    for run in runs:
        make_run(run)
        run.record.write_bytes(b"")
    lines = list(mend(results, runs, look_only=False))
    assert len(lines) == 11
    assert lines[-1] == "... and so are 3 more"
    assert not any(run.record.exists() for run in runs)


def test_dates_in_the_future_are_set_back(results: Path) -> None:
    runs = [run_files(results, page) for page in PAGES]
    soon, far = time.time() + 30, time.time() + 3600
    early = (results / "metrics.csv", runs[1].operators)
    for path in early:
        os.utime(path, (far, far))
    os.utime(results / "summary.csv", (soon, soon))  # as a file server's clock may go
    (line,) = mend(results, runs, look_only=True)
    assert line.startswith("2 results are dated in the future")
    assert early[0].stat().st_mtime > time.time()
    list(mend(results, runs, look_only=False))
    assert [path.stat().st_mtime for path in early] == [1.0, 1.0]
    assert (results / "summary.csv").stat().st_mtime == pytest.approx(soon)
    assert list(mend(results, runs, look_only=False)) == []


def test_damage_that_cannot_be_mended_is_told(results: Path) -> None:
    runs = [run_files(results, page) for page in PAGES]
    runs[0].record.write_bytes(b"")
    with read_only(results), pytest.raises(UserError, match=r"0\.json cannot be .*Read-only"):
        list(mend(results, runs, look_only=False))
