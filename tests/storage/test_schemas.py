"""The schemas: sound in themselves, and in step with the records, the tables and the artefacts."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import builders
import msgspec
import pandas as pd
import pytest
from builders import operator_frame
from jsonschema import Draft202012Validator
from PIL import Image
from validate import (
    SCHEMAS,
    Json,
    columns,
    read_rows,
    registry,
    resolved,
    schemas,
    validate,
    validate_results,
)

from mfuscope.config.settings import ModelSettings, resolve_settings
from mfuscope.core import counters as counted_records
from mfuscope.core import records
from mfuscope.metrics.run_metrics import MFU_LIMIT, metrics_table
from mfuscope.metrics.statistics import SUMMARISED, summarise
from mfuscope.models.families import Family
from mfuscope.models.spec import ModelSpec
from mfuscope.planning.parameters import page_rows
from mfuscope.planning.plan import make_plan
from mfuscope.storage.artefacts import write_json
from mfuscope.storage.tables import read_table, write_table
from mfuscope.traces.columns import read_trace
from mfuscope.traces.spans import STAGES

# The settings' schema has rules of its own, as it must read well in error messages.
ARTEFACT_SCHEMAS = [name for name in schemas() if name != "config.schema.yaml"]

RECORDS: dict[str, type] = {
    "run": records.Run,
    "calibration": records.Calibration,
    "counters": counted_records.Counters,
    "ceiling": records.Ceiling,
    "hardware": records.Hardware,
    "activity": records.Activity,
}
MAKERS: dict[str, Callable[..., Any]] = {name: getattr(builders, name) for name in RECORDS}

JSON_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


def parts_of(schema: Json) -> Iterator[tuple[str, Json]]:
    """All subschemas, with the path to them; the values of `properties` and `$defs` among them."""

    def visit(part: Any, path: str) -> Iterator[tuple[str, Json]]:
        if isinstance(part, dict):
            yield path, part
            for key in ("properties", "$defs"):
                for name, inner in part.get(key, {}).items():
                    yield from visit(inner, f"{path}/{key}/{name}")
            for key in ("items", "additionalProperties", "propertyNames"):
                yield from visit(part.get(key), f"{path}/{key}")

    return visit(schema, "#")


def as_json(record: Any) -> Json:
    made: Json = msgspec.json.decode(msgspec.json.encode(record))
    return made


def types_of(part: Json) -> set[str]:
    kind = part["type"]
    return {kind} if isinstance(kind, str) else set(kind)


# ---------------------------------------------------------------- the schemas themselves


def test_there_is_one_per_artefact() -> None:
    tables = ["inputs", "metrics", "summary", "comparison", "operators", "kernels", "launches"]
    tables.append("flops")
    names = [*RECORDS, *tables, "report", "common", "config"]
    assert set(schemas()) == {f"{name}.schema.yaml" for name in names}


@pytest.mark.parametrize("name", schemas())
def test_is_a_valid_schema(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])


@pytest.mark.parametrize("name", ARTEFACT_SCHEMAS)
def test_says_what_it_is(name: str) -> None:
    schema = schemas()[name]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == name
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize("name", schemas())
def test_references_resolve(name: str) -> None:
    resolver = registry().resolver(base_uri=name)
    for path, part in parts_of(schemas()[name]):
        if "$ref" in part:
            assert resolver.lookup(part["$ref"]).contents, path


@pytest.mark.parametrize("name", ARTEFACT_SCHEMAS)
def test_everything_is_described(name: str) -> None:
    for path, part in parts_of(schemas()[name]):
        if path.rpartition("/")[0].endswith(("properties", "$defs")):
            whole, _ = resolved(part, name)
            assert whole.get("description", "").endswith("."), path
            assert "type" in whole, path


@pytest.mark.parametrize("name", ARTEFACT_SCHEMAS)
def test_objects_are_closed_and_complete(name: str) -> None:
    for path, part in parts_of(schemas()[name]):
        if "properties" in part:
            assert part["additionalProperties"] is False, path
            assert part["required"] == list(part["properties"]), path


def test_vocabularies_are_the_code_s() -> None:
    common, config = schemas()["common.schema.yaml"]["$defs"], schemas()["config.schema.yaml"]
    assert common["model"]["properties"]["family"]["enum"] == [family.value for family in Family]
    assert common["weights"]["enum"] == list(get_args(get_type_hints(ModelSpec)["weights"]))
    # Records have what `auto` became.
    for name in ("attention", "dtype"):
        assert {"auto", *common[name]["enum"]} <= set(config["$defs"][name]["enum"])
    assert common["mfu"]["maximum"] == MFU_LIMIT
    rows = {
        name: schemas()[f"{name}.schema.yaml"]["properties"] for name in ("summary", "operators")
    }
    assert rows["summary"]["metric"]["enum"] == list(SUMMARISED)
    assert rows["operators"]["stage"]["enum"] == list(STAGES)
    assert set(SUMMARISED) < set(columns("metrics"))


# ---------------------------------------------------------------- the records


def check_record(record: type, part: Json, base: str, where: str) -> None:
    """Same fields in the same order, same types, same fields nullable; all the way down."""
    part, base = resolved(part, base)
    hints = get_type_hints(record)
    assert list(part["properties"]) == [field.name for field in fields(record)], where
    assert part["required"] == list(part["properties"]), where
    for name, inner in part["properties"].items():
        check_type(hints[name], inner, base, f"{where}.{name}")


def check_type(hint: Any, part: Json, base: str, where: str) -> None:
    part, base = resolved(part, base)
    choices = get_args(hint) if NoneType in get_args(hint) else (hint,)
    types = types_of(part)
    assert ("null" in types) == (NoneType in choices), f"{where}: nullable in one of them"
    choices = tuple(choice for choice in choices if choice is not NoneType)
    if hint == int | float:
        assert types == {"number"}, where
        return
    hint = choices[0]
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    expected = "object" if is_dataclass(hint) else JSON_TYPES[origin]
    assert types - {"null"} == {expected}, where
    if is_dataclass(hint):
        assert isinstance(hint, type)
        check_record(hint, part, base, where)
    elif origin is list:
        check_type(arguments[0], part["items"], base, f"{where}[]")
    elif origin is dict and arguments[1] is not Any:
        check_type(arguments[1], part["additionalProperties"], base, f"{where}{{}}")


@pytest.mark.parametrize("name", RECORDS)
def test_record_and_schema_have_the_same_fields(name: str) -> None:
    base = f"{name}.schema.yaml"
    check_record(RECORDS[name], schemas()[base], base, name)


def test_settings_of_a_run_are_the_code_s() -> None:
    from mfuscope.measure.passes import RunSettings

    part = schemas()["run.schema.yaml"]["properties"]["settings"]
    found = part["properties"]
    for record in (ModelSettings, RunSettings):
        hints = get_type_hints(record)
        for field in fields(record):
            check_type(hints[field.name], found[field.name], "run.schema.yaml", field.name)
    names = [field.name for record in (ModelSettings, RunSettings) for field in fields(record)]
    assert list(found) == part["required"] == names


@pytest.mark.parametrize("name", RECORDS)
def test_handmade_record_fits(name: str) -> None:
    validate(name, as_json(MAKERS[name]()))


def test_records_of_a_cpu_fit() -> None:
    names = ("vision_ms", "projector_ms", "language_prefill_ms", "peak_memory_bytes", "energy_j")
    bare = builders.a_pass(
        1,
        **dict.fromkeys(names),
        absent=dict.fromkeys(names, "a reason"),
        conditions_before=builders.no_conditions(),
        conditions_after=builders.no_conditions(),
        host=builders.no_host(),
    )
    run = builders.run(
        1,
        timed=bare,
        traced=bare,
        device=builders.cpu(),
        versions=builders.versions(cuda=None, driver=None),
        model=builders.model(dtype="fp32", experts_implementation=None, attention="eager"),
        page=builders.page(resolution="native-3x600x400-0a1b2c"),
    )
    validate("run", as_json(run))
    reasons = {f"gemm_tflops.{name}": "not in use on this CPU" for name in ("bf16", "fp16")}
    ceiling = builders.ceiling(
        device=builders.cpu(),
        precision="fp32",
        precisions=["fp32"],
        gemm_tflops={"fp32": 0.1},
        gemm_shape={"fp32": [512, 512, 512]},
        absent=reasons,
    )
    validate("ceiling", as_json(ceiling))


def change(record: Json, path: str, value: object) -> Json:
    """Set the field at a dotted path; ``...`` removes it."""
    *parents, last = path.split(".")
    inner = record
    for key in parents:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return record


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("run", "passes.0.prefill_ms", ...),
        ("run", "passes.0.prefill_ms", -1.0),
        ("run", "passes.0.prefill_ms", None),
        ("run", "passes.0.step_ms", [20.0, -20.0]),
        ("run", "passes.0.new_tokens", 0),
        ("run", "passes.0.new_tokens", 4.5),
        ("run", "passes.0.energy_j", None),  # without a reason
        ("run", "passes.0.absent", {"energy_j": "a reason"}),  # although it is there
        ("run", "passes.0.absent", {"prefill_ms": "a reason"}),  # never absent
        ("run", "passes.0.conditions_before.throttle_reasons", ["tired"]),
        ("run", "traced.token_ids_sha256", "0" * 63),
        ("run", "model.weights", "random"),
        ("run", "model.dtype", "bfloat16"),
        ("run", "settings.load_format", "fast"),
        ("run", "settings.warmup", ...),
        ("run", "settings.profiler.with_stack", ...),
        ("run", "device.kind", "gpu"),
        ("run", "device.sm_count", None),
        ("run", "page.resolution", "1024x640"),
        ("run", "image", "../page.png"),
        ("run", "measured_at", "2026-01-02 03:04:05"),
        ("run", "note", "unknown field"),
        ("calibration", "decode_steps", []),
        ("calibration", "decode_steps.0.context_tokens", ...),
        ("calibration", "prefill_flops.tail", {"counted": 1}),
        ("calibration", "prefill_total", {"architecture": 1}),
        ("calibration", "prefill_total.counted", -1),
        ("calibration", "uncounted_operators", None),
        ("counters", "stages.decode", builders.totals()),
        ("counters", "stages.prefill.kernels", 0),
        ("counters", "components.prefill.lm_head.tensor_flops", -1),
        ("counters", "absent", {"kernels": "a reason"}),
        ("ceiling", "gemm_tflops.bf16", 0),
        ("ceiling", "gemm_tflops.int8", 1.0),
        ("ceiling", "gemm_shape.bf16", [8192]),
        ("ceiling", "precision", "auto"),
        ("hardware", "peak_source", "guessed"),
        ("hardware", "peaks.bf16.source", "guessed"),
        ("hardware", "peaks", {}),
        ("hardware", "peak_tflops", 0),
        ("hardware", "bandwidth_gbs", None),
    ],
)
def test_broken_record_does_not_fit(name: str, path: str, value: object) -> None:
    with pytest.raises(AssertionError):
        validate(name, change(as_json(MAKERS[name]()), path, value))


# ---------------------------------------------------------------- the tables


def metrics() -> pd.DataFrame:
    runs = [
        builders.run(image=image, repeat=repeat)
        for image in ("page.png", "other.png")
        for repeat in range(2)
    ]
    # A single new token, and everything absent that can be.
    names = ("vision_ms", "projector_ms", "language_prefill_ms", "peak_memory_bytes", "energy_j")
    unknown_conditions = builders.no_conditions()
    bare = builders.a_pass(
        1,
        **dict.fromkeys(names),
        conditions_before=unknown_conditions,
        conditions_after=unknown_conditions,
        host=builders.no_host(),
    )
    reference = records.Reference(prefill_ms=49.0, step_ms=None)
    absent = {"image_tokens": "the config names no image token"}
    model = builders.model(experts_implementation=None)
    last = builders.run(1, variant="other", passes=[bare], model=model, image_tokens=None)
    session = builders.session(reference=reference)
    runs.append(replace(last, absent=absent, session=session))
    activities = [builders.activity() for _ in runs[:-1]] + [builders.cpu_activity(steps=0)]
    calibrations = {
        ("baseline", "1024"): builders.calibration(),
        ("other", "1024"): builders.generic_calibration(),
    }
    unknown = builders.ceiling(gemm_tflops={})
    return metrics_table(runs, activities, calibrations, builders.hardware(), unknown)


def inputs(folder: Path) -> list[Json]:
    """One page of a known category, one of none."""
    images = folder / "images"
    for path in ("text_heavy/a page.png", "page.png"):
        (images / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(images / path)
    settings = resolve_settings(
        file={"images": str(images), "device": "cpu", "model": "deepseek-ocr"},
        command_line={},
        environment={},
        schema=schemas()["config.schema.yaml"],
    )
    return page_rows(make_plan(settings, SCHEMAS.parents[1] / "config" / "models", known={}))


def operators(folder: Path, device: bool, memory: bool) -> pd.DataFrame:
    trace = builders.write_trace(folder / "trace.json.gz", device=device, memory=memory)
    return operator_frame(read_trace(trace)).assign(weights="dummy")


def check_table(name: str, table: pd.DataFrame | list[Json], folder: Path) -> list[Json]:
    """Its columns are the schema's, and its rows fit once they are written; returns those."""
    assert list(pd.DataFrame(table).columns) == columns(name)
    path = folder / f"{name}.csv"
    write_table(path, table)
    rows = read_rows(path, name)
    assert len(rows) == len(table) > 0
    for row in rows:
        validate(name, row)
    return rows


def test_metrics_fit(tmp_path: Path) -> None:
    rows = check_table("metrics", metrics(), tmp_path)
    first, last = rows[0], rows[-1]
    assert first["mfu_prefill"] == pytest.approx(0.0274447, rel=1e-5)
    assert first["resolution"] == "1024"
    assert first["passes_agree"] is True
    absent = {name for name, value in last.items() if value is None}
    assert absent >= {
        *("vision_ms", "projector_ms", "language_prefill_ms", "peak_memory_gb", "energy_j"),
        *("decode_tokens_per_s", "step_p50_ms", "step_p95_ms", "mfu_decode", "image_tokens"),
    }
    nullable = {
        name
        for name, part in schemas()["metrics.schema.yaml"]["properties"].items()
        if "null" in types_of(resolved(part, "metrics.schema.yaml")[0])
    }
    assert nullable == absent


def test_summary_fits(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_table(path, metrics())
    rows = check_table("summary", summarise(read_table(path)), tmp_path)
    assert {row["image"] for row in rows} == {"page.png", "other.png", "all"}
    assert {row["n"] for row in rows} == {0, 1, 2}


def test_inputs_fit(tmp_path: Path) -> None:
    rows = check_table("inputs", inputs(tmp_path), tmp_path)
    assert [row["category"] for row in rows] == [None, "text_heavy"]


@pytest.mark.parametrize("device", [True, False])
@pytest.mark.parametrize("memory", [True, False])
def test_operators_fit(tmp_path: Path, device: bool, memory: bool) -> None:
    rows = check_table("operators", operators(tmp_path, device, memory), tmp_path)
    assert all((row["device_ms"] is not None) == device for row in rows)
    assert all((row["self_cpu_memory_bytes"] is not None) == memory for row in rows)
    kinds = ["operator", "overhead", "runtime", "unattributed"] if device else ["operator"]
    assert sorted({row["kind"] for row in rows}) == kinds


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("metrics", "prefill_ms", ...),
        ("metrics", "prefill_ms", -50.0),
        ("metrics", "prefill_ms", None),
        ("metrics", "mfu_prefill", 2.0),
        ("metrics", "mfu_prefill", None),
        ("metrics", "mfu_decode", -0.1),
        ("metrics", "repeat", -1),
        ("metrics", "weights", ""),
        ("metrics", "peak_source", "guess"),
        ("metrics", "passes_agree", "yes"),
        ("metrics", "unknown", 1),
        ("summary", "metric", "speed"),
        ("summary", "n", 1.5),
        ("summary", "std", -1.0),
        ("operators", "stage", "warmup"),
        ("operators", "kind", "kernel"),
        ("operators", "total_cpu_ms", -1.0),
        ("operators", "calls", None),
        ("inputs", "sha256", "abc"),
        ("inputs", "width", 0),
        ("inputs", "resolution", 1024),
    ],
)
def test_broken_row_does_not_fit(tmp_path: Path, name: str, column: str, value: object) -> None:
    tables: dict[str, Callable[[], pd.DataFrame | list[Json]]] = {
        "metrics": metrics,
        "summary": lambda: summarise(metrics()),
        "operators": lambda: operators(tmp_path, True, True),
        "inputs": lambda: inputs(tmp_path),
    }
    row = check_table(name, tables[name](), tmp_path)[0]
    with pytest.raises(AssertionError, match=column):
        validate(name, change(row, column, value))


# ---------------------------------------------------------------- results folders


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with one artefact of each kind."""
    folder = tmp_path / "results"
    write_json(folder / "ceiling.json", builders.ceiling())
    write_json(folder / "hardware.json", builders.hardware())
    write_json(folder / "baseline" / "calibration" / "1024.json", builders.calibration())
    write_json(folder / "baseline" / "runs" / "page.png" / "0.json", builders.run())
    activity = folder / "baseline" / "activity" / "page.png" / "0.json"
    write_json(activity, builders.activity())
    write_table(folder / "inputs.csv", inputs(tmp_path))
    write_table(folder / "metrics.csv", metrics())
    write_table(folder / "summary.csv", summarise(read_table(folder / "metrics.csv")))
    table = folder / "baseline" / "operators" / "page.png" / "0.csv"
    write_table(table, operators(tmp_path, True, False))
    return folder


def test_results_fit(results: Path) -> None:
    assert validate_results(results) == 9


def test_misfit_in_a_record_is_named(results: Path) -> None:
    record = change(asdict(builders.hardware()), "peak_source", "guessed")
    write_json(results / "hardware.json", record)
    with pytest.raises(AssertionError, match=r"hardware\.json: \$\.peak_source: 'guessed'"):
        validate_results(results)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",True,", ",yes,", r"row 0: \$\.passes_agree: 'yes' is not of type boolean"),
        (",dummy,", ",fake,", r"row 0: \$\.weights: 'fake'"),
        ("variant,image,", "image,variant,", "columns are"),
    ],
)
def test_misfit_in_a_table_is_named(results: Path, old: str, new: str, message: str) -> None:
    path = results / "metrics.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"metrics\.csv: " + message):
        validate_results(results)


def test_file_without_a_schema_is_named(results: Path) -> None:
    (results / "baseline" / "notes.json").write_text("{}", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"notes\.json: no schema"):
        validate_results(results)
