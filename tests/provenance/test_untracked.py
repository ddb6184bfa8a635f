"""Results that Snakemake remembers nothing of, held against what would be measured now."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import builders
import pytest
from checkpoints import MODELS
from damages import DAMAGES
from PIL import Image
from snakemake.persistence import RECORD_FORMAT_VERSION as VERSION
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from mfuscope.config.settings import ModelSettings, load_schema, resolve_settings
from mfuscope.core import records
from mfuscope.core.errors import MfuscopeError
from mfuscope.core.records import PROTOCOL
from mfuscope.hardware.devices import DeviceHere
from mfuscope.planning.plan import Plan, make_plan
from mfuscope.provenance.untracked import Memory, check_runs, forgotten_tables
from mfuscope.storage.artefacts import write_json, write_noted

SCHEMA = load_schema(Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml")
RUN = Path("results/baseline/runs/page.png/0.json")
HERE = DeviceHere("cpu", "A processor", 2)
TRACE = Path("results/baseline/traces/page.png/0.json.gz")


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Memory:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 40)).save("page.png")
    FilePersistence(path=tmp_path / ".snakemake")
    return Memory(Path(".snakemake/metadata"))


def plan(**settings: Any) -> Plan:
    file: dict[str, Any] = {"images": "page.png", "device": "cpu", "repeats": 1} | settings
    return make_plan(resolve_settings(file, {}, {}, SCHEMA), MODELS)


def as_planned(made: Plan) -> records.Run:
    """The record that a run of the plan leaves, as far as it says how it was measured."""
    settings = made.run_settings("baseline")
    model = settings.pop("model")
    run = builders.run()
    return replace(
        run,
        protocol=PROTOCOL,
        device=builders.cpu(),
        page=replace(run.page, sha256=made.digest("page.png")),
        model=replace(run.model, fingerprint=model["fingerprint"]),
        settings=settings | {name: model[name] for name in ModelSettings.__annotations__},
    )


def own() -> FilePersistence:
    """Snakemake's own memory."""
    return FilePersistence(path=Path(".snakemake"))


def remember(*paths: Path, **changes: Any) -> None:
    """Have Snakemake's own code file that it knows results."""
    record = MetadataRecord(params=["'a'"], input=["page.png"], record_format_version=VERSION)
    for path in paths:
        own()._write_record(str(path), record.model_copy(update=changes))


def filed(path: Path) -> Path:
    """Where Snakemake keeps its record of a result."""
    return Path(own()._record_path(own()._metadata_path, str(path)))


def check(made: Plan, memory: Memory, here: DeviceHere | None = HERE) -> None:
    check_runs(made, Path("results"), memory, here, Path("again.txt"))


def told(made: Plan, memory: Memory, here: DeviceHere | None = HERE) -> list[str]:
    with pytest.raises(MfuscopeError) as caught:
        check(made, memory, here)
    return str(caught.value).splitlines()


def test_results_that_fit_are_left_alone(memory: Memory) -> None:
    write_json(RUN, as_planned(plan()))
    check(plan(), memory)


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"max_new_tokens": 7}, "max_new_tokens 64"),
        ({"warmup": 3}, "warmup 1"),
        ({"prompt": "Something else."}, "prompt "),
        ({"profiler": {"record_shapes": True}}, "profiler.record_shapes False"),
        ({"resolution": "base"}, "resolution "),
        ({"model": "deepseek-ocr"}, "model deepseek-ocr-nano, model files "),
    ],
)
def test_other_settings_are_named(
    settings: Mapping[str, Any], differs: str, memory: Memory
) -> None:
    write_json(RUN, as_planned(plan()))
    first, last = told(plan(**settings), memory)
    assert first.startswith(f"1 run with {differs}")
    assert first.endswith(": baseline/page.png/0")
    assert f"`rm {RUN}` and run the same command again" in last


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"protocol": PROTOCOL - 1}, f"measurement protocol {PROTOCOL - 1}"),
        ({"page": builders.page()}, f"page content {builders.SHA256}"),
    ],
)
def test_other_conditions_are_named(
    changes: Mapping[str, Any], differs: str, memory: Memory
) -> None:
    write_json(RUN, replace(as_planned(plan()), **changes))
    assert told(plan(), memory)[0] == f"1 run with {differs}: baseline/page.png/0"


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (builders.gpu(), "NVIDIA H100 80GB HBM3 (132 SMs, 79 GiB)"),
        (builders.cpu(name="Another"), "Another (2 threads)"),
        (builders.cpu(threads=8), "A processor (8 threads)"),
    ],
)
def test_results_of_another_machine_are_named(
    device: records.Device, words: str, memory: Memory
) -> None:
    """Before its ceiling, which nobody remembers either, is measured anew here."""
    write_json(RUN, replace(as_planned(plan()), device=device))
    first, here, last = told(plan(), memory)
    assert first == f"1 run with device {words}: baseline/page.png/0"
    assert here == "the device here: A processor (2 threads)"
    assert f"`rm {RUN}` and run the same command again" in last
    # On a cluster, whoever submits knows the kind alone.
    if device.kind == "cpu":
        check(plan(), memory, None)
    else:
        assert len(told(plan(), memory, None)) == 2


def test_a_record_under_another_name_is_told_by_its_path(memory: Memory) -> None:
    write_json(RUN, replace(as_planned(plan()), image="x; touch OWNED #"))
    first, last = told(plan(), memory)
    assert first == f"{RUN} is the record of the run baseline/x; touch OWNED #/0"
    assert f"`rm {RUN}` and run" in last


def test_what_is_remembered_is_for_snakemake_to_judge(memory: Memory) -> None:
    write_json(RUN, as_planned(plan()))
    remember(RUN, TRACE)
    check(plan(max_new_tokens=7), memory)


@pytest.mark.parametrize("of", [RUN, TRACE])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_is_none(damage: str, of: Path, memory: Memory) -> None:
    """Of a job's results Snakemake must know all, or it looks at dates alone."""
    write_json(RUN, as_planned(plan()))
    remember(RUN, TRACE)
    DAMAGES[damage](filed(of))
    assert told(plan(max_new_tokens=7), memory)[0].startswith("1 run with max_new_tokens 64: ")
    # Snakemake itself would warn of it at every call.
    memory.drop_unreadable()
    assert not filed(of).exists()
    remember(RUN, TRACE)
    memory.drop_unreadable()
    assert memory.holds(RUN, TRACE)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"params": ["a"]', b'"params"']
)
def test_a_memory_without_what_tells_a_change_is_none(content: bytes, memory: Memory) -> None:
    remember(RUN)
    filed(RUN).write_bytes(content)
    assert not memory.holds(RUN)


@pytest.mark.parametrize(
    "changes", [{"params": None}, {"input": None}, {"record_format_version": VERSION - 1}]
)
def test_snakemake_sees_no_change_without(changes: Mapping[str, Any], memory: Memory) -> None:
    remember(RUN)
    assert memory.holds(RUN)
    remember(RUN, **changes)
    assert not memory.holds(RUN)
    # Such a record is well-formed, and Snakemake's to keep.
    memory.drop_unreadable()
    assert filed(RUN).exists()


def test_what_is_cut_short_is_somebody_elses_business(memory: Memory) -> None:
    write_json(RUN, as_planned(plan()))
    RUN.write_bytes(RUN.read_bytes()[:100])
    check(plan(max_new_tokens=7), memory)


def test_many_runs_are_listed_in_a_file(memory: Memory) -> None:
    run = as_planned(plan())
    paths = [RUN.with_name(f"{repeat}.json") for repeat in range(9)]
    for repeat, path in enumerate(paths):
        write_json(path, replace(run, repeat=repeat))
    first, last = told(plan(repeats=9, max_new_tokens=7), memory)
    assert first.startswith("9 runs with max_new_tokens 64: baseline/page.png/0, ")
    assert "`xargs rm < again.txt`" in last
    assert Path("again.txt").read_text().split() == list(map(str, paths))


@pytest.mark.parametrize("length", [1, 180, 200, 400])
def test_memory_is_found_where_snakemake_keeps_it(length: int, memory: Memory) -> None:
    path = Path("results") / "v" / "runs" / ("x" * length) / "0.json"
    assert not memory.holds(path)
    remember(path)
    assert memory.holds(path)
    assert not Memory(Path("nowhere")).holds(path)


def test_tables_that_nobody_remembers_are_found(memory: Memory) -> None:
    results = Path("results")
    assert forgotten_tables(results, memory) == []
    write_json(results / "hardware.json", asdict(builders.hardware()))
    write_noted(results / "metrics.csv", "a,b\n")
    write_noted(results / "report.md", "# Report\n")
    remember(results / "metrics.csv")
    assert forgotten_tables(results, memory) == [results / "hardware.json", results / "report.md"]
