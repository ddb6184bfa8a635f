"""What a run's record says of where it comes from, and whether that is what is asked for."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import builders
import pytest
from provenances import SETTINGS, a_run

from mfuscope.core.errors import InvalidFileError
from mfuscope.core.records import PROTOCOL
from mfuscope.core.runs import RunKey
from mfuscope.provenance.facts import (
    Provenance,
    conditions,
    differences,
    matches,
    read_provenance,
)
from mfuscope.storage.artefacts import write_json
from mfuscope.storage.paths import RunPaths

KEY = RunKey("baseline", "page.png", 0)


def test_a_record_has_its_provenance(tmp_path: Path) -> None:
    path, run = RunPaths.of(tmp_path, KEY).record, builders.run()
    write_json(path, run)
    read = read_provenance(path)
    assert read.key == KEY
    for field in fields(Provenance):
        assert getattr(read, field.name) == getattr(run, field.name)


def test_a_record_under_another_name_is_refused(tmp_path: Path) -> None:
    path = RunPaths.of(tmp_path, replace(KEY, repeat=1)).record
    write_json(path, builders.run())
    with pytest.raises(InvalidFileError, match=r"record of the run baseline/page\.png/0"):
        read_provenance(path)


def test_a_run_of_what_is_asked_for_matches() -> None:
    assert differences(a_run(), SETTINGS, builders.SHA256) == {}
    assert matches(a_run(), SETTINGS, builders.SHA256)
    # Of which device and software it is, is another question.
    other = a_run(device=builders.cpu(), versions=builders.versions(torch="1.0"))
    assert matches(other, SETTINGS, builders.SHA256)


RECORDED = builders.run().settings
OUTDATED: list[tuple[dict[str, Any], str, tuple[str, str]]] = [
    ({"protocol": 1}, "measurement protocol", ("1", str(PROTOCOL))),
    ({"settings": RECORDED | {"warmup": 9}}, "warmup", ("9", "1")),
    ({"settings": RECORDED | {"prompt": "Read."}}, "prompt", ("Read.", "Free OCR.")),
    (
        {"settings": RECORDED | {"profiler": RECORDED["profiler"] | {"decode_steps": 7}}},
        "profiler.decode_steps",
        ("7", "None"),
    ),
    ({"settings": RECORDED | {"cache": "static"}}, "cache", ("static", "dynamic")),
    (
        {"settings": {name: RECORDED[name] for name in RECORDED if name != "attention"}},
        "attention",
        ("unset", "sdpa"),
    ),
    (
        {"model": builders.model(fingerprint="ffff")},
        "model files",
        ("ffff", builders.model().fingerprint),
    ),
    ({"page": builders.page(sha256="0" * 64)}, "page content", ("0" * 64, builders.SHA256)),
]


@pytest.mark.parametrize(("changes", "name", "values"), OUTDATED, ids=[one[1] for one in OUTDATED])
def test_a_run_of_something_else_does_not_match(
    changes: dict[str, Any], name: str, values: tuple[str, str]
) -> None:
    run = a_run(**changes)
    assert differences(run, SETTINGS, builders.SHA256) == {name: values}
    assert not matches(run, SETTINGS, builders.SHA256)


def test_a_cpu_has_no_use_for_drivers() -> None:
    versions = builders.versions(driver=None, cuda=None)
    assert conditions(a_run(device=builders.cpu())) == conditions(
        a_run(device=builders.cpu(memory_bytes=1 << 34), versions=versions)
    )
    assert conditions(a_run()) != conditions(a_run(versions=versions))
