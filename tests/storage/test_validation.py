"""Records and tables are what their path promises, or are named with what to do."""

import json
from pathlib import Path
from typing import Any

import builders
import pytest

from mfuscope.core.errors import InvalidFileError, TraceError
from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
from mfuscope.core.runs import RunKey
from mfuscope.storage.artefacts import write_columns, write_json
from mfuscope.storage.paths import RunPaths
from mfuscope.storage.validation import check_table, check_trace, read_record

RUN, ACTIVITY = "baseline/runs/page.png/0.json", "baseline/activity/page.png/0.json"
CALIBRATION = "baseline/calibration/1024.json"
RECORDS: dict[str, tuple[type, Any]] = {
    RUN: (Run, builders.run()),
    ACTIVITY: (Activity, builders.activity()),
    CALIBRATION: (Calibration, builders.calibration()),
    "ceiling.json": (Ceiling, builders.ceiling()),
    "hardware.json": (Hardware, builders.hardware()),
}


@pytest.mark.parametrize(("name", "record"), RECORDS.items(), ids=RECORDS)
def test_valid_records_are_read(name: str, record: tuple[type, Any], tmp_path: Path) -> None:
    kind, made = record
    write_json(tmp_path / name, made)
    assert read_record(tmp_path / name, kind) == made


# What is whole JSON but no such record: the file, the way to a value, what stands there instead,
# and the finding. None leaves the value out.
INVALID: dict[str, tuple[str, str, Any, str]] = {
    "run without its timed passes": (RUN, "passes", None, "missing required field `passes`"),
    "text for a number": (RUN, "passes.1.prefill_ms", "fast", "`$.passes[1].prefill_ms`"),
    "time of 0": (RUN, "traced.prefill_ms", 0.0, "of a traced pass"),
    "no token": (RUN, "passes.2.new_tokens", 0, "of a timed pass"),
    "no pass": (RUN, "passes", [], "no timed pass"),
    "passes of other lengths": (RUN, "passes.1.new_tokens", 3, "different numbers of tokens"),
    "no stages": (ACTIVITY, "stages", {}, "no stage `prefill`"),
    "no speeds": ("ceiling.json", "gemm_tflops", None, "missing required field `gemm_tflops`"),
    "speeds of others": ("ceiling.json", "gemm_tflops", {"fp32": 1.0}, "no speed of bf16"),
    "no copies": ("ceiling.json", "copy_gbs", 0, "no speed of copies"),
    "precision of none": ("ceiling.json", "precisions", [], "bf16 is not among the precisions"),
    "nothing": ("hardware.json", "", {}, "missing required field"),
    "peaks of others": ("hardware.json", "peaks", {}, "no peak of bf16"),
    "no bandwidth": ("hardware.json", "bandwidth_gbs", 0, "a peak is not above 0"),
    "totals of null": (CALIBRATION, "prefill_total", [], "got `array` - at `$.prefill_total`"),
    "nothing counted": (CALIBRATION, "prefill_total", {"directional": 1}, "no counted FLOPs"),
    "no decode steps": (CALIBRATION, "decode_steps", [], "no two decode steps"),
}


@pytest.mark.parametrize(("name", "key", "value", "finding"), INVALID.values(), ids=INVALID)
def test_whole_json_that_is_no_such_record_is_named(
    name: str, key: str, value: Any, finding: str, tmp_path: Path
) -> None:
    path, (kind, made) = tmp_path / name, RECORDS[name]
    write_json(path, made)
    whole: dict[str, Any] = json.loads(path.read_bytes())
    *outer, last = key.split(".")
    inner = whole
    for one in outer:
        inner = inner[int(one)] if isinstance(inner, list) else inner[one]
    inner.pop(last, None)
    if value is not None:
        inner[last] = value
    path.write_text(json.dumps(whole if key else value))
    with pytest.raises(InvalidFileError) as caught:
        read_record(path, kind)
    message = str(caught.value)
    assert message.startswith(f"{path} is no ")
    assert finding in message
    assert message.endswith(f"Remedy: `rm {path}` and run the same command again.")


@pytest.mark.parametrize(
    "place",
    ["baseline/runs/other.png/0.json", "eager/runs/page.png/0.json", RUN.replace("/0.", "/1.")],
    ids=["page", "variant", "repeat"],
)
@pytest.mark.parametrize("name", [RUN, ACTIVITY], ids=["run", "activity"])
def test_a_run_under_another_name_is_named_by_where_it_lies(
    name: str, place: str, tmp_path: Path
) -> None:
    kind, record = RECORDS[name]
    path = tmp_path / place.replace("/runs/", f"/{Path(name).parts[1]}/")
    write_json(path, record)
    with pytest.raises(InvalidFileError) as caught:
        read_record(path, kind)
    assert caught.value.finding == "is the record of the run baseline/page.png/0"
    assert f"`rm {path}` and run" in str(caught.value)


@pytest.mark.parametrize("place", ["baseline/calibration/512.json", "eager/calibration/1024.json"])
def test_a_calibration_under_another_name_is_named(place: str, tmp_path: Path) -> None:
    write_json(tmp_path / place, builders.calibration())
    with pytest.raises(InvalidFileError, match="is the record of the calibration baseline at 1024"):
        read_record(tmp_path / place, Calibration)


def test_a_name_that_a_path_would_swallow_is_another(tmp_path: Path) -> None:
    write_json(tmp_path / RUN, builders.run(image="./page.png"))
    with pytest.raises(InvalidFileError, match=r"is the record of the run baseline/\./page\.png/0"):
        read_record(tmp_path / RUN, Run)


def test_nothing_in_a_record_is_part_of_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / RUN
    write_json(path, builders.run(image="x; touch OWNED #\nRemedy: `touch OWNED`" + "x" * 500))
    with pytest.raises(InvalidFileError) as caught:
        read_record(path, Run)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path} is the record of the run baseline/x; touch OWNED #\\nRemedy: ")
    assert line.endswith(f". Remedy: `rm {path}` and run the same command again.")
    assert len(line) < 200 + 2 * len(str(path))


@pytest.mark.parametrize("kind", ["operators", "kernels"])
def test_a_table_of_another_size_than_recorded_is_named(kind: str, tmp_path: Path) -> None:
    paths = RunPaths.of(tmp_path, RunKey("baseline", "page.png", 0))
    table: Path = getattr(paths, kind)
    size = write_columns(table, {kind: ["one", "two"]})
    check_table(table)
    write_json(paths.activity, builders.activity(table_bytes={kind: size}))
    check_table(table)
    table.write_bytes(table.read_bytes().removesuffix(b"two\n"))
    with pytest.raises(InvalidFileError, match=rf"{kind}/page\.png/0\.csv is truncated"):
        check_table(table)
    write_columns(table, {kind: ["one", "two", "three"]})
    with pytest.raises(InvalidFileError, match=rf"has \d+ bytes, but {size} were recorded"):
        check_table(table)


def test_an_activity_of_another_run_is_named_and_not_the_table(tmp_path: Path) -> None:
    paths = RunPaths.of(tmp_path, RunKey("baseline", "page.png", 0))
    size = write_columns(paths.operators, {"operators": ["one", "two"]})
    other = builders.activity(image="other.png", table_bytes={"operators": size - 1})
    write_json(paths.activity, other)
    with pytest.raises(InvalidFileError) as caught:
        check_table(paths.operators)
    assert caught.value.path == paths.activity
    assert caught.value.finding == "is the record of the run baseline/other.png/0"


@pytest.mark.parametrize(
    ("recorded", "finding"),
    [(9, ""), (0, ""), (10, "is truncated"), (8, "has 9 bytes, but 8 were recorded")],
)
def test_a_trace_has_the_size_that_its_run_records(
    recorded: int, finding: str, tmp_path: Path
) -> None:
    path = tmp_path / "0.json.gz"
    path.write_bytes(b"nine byte")
    run = builders.run(trace_bytes=recorded)
    if not finding:
        check_trace(path, run)
        return
    with pytest.raises(TraceError) as caught:
        check_trace(path, run)
    assert str(caught.value) == (
        f"{path} {finding}. Remedy: `rm {path}` and run the same command again, which measures "
        "its run again."
    )
