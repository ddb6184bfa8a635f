"""Which hardware counters a call reads or makes, and of which page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import builders
import pytest

from mfuscope.core.errors import UserError
from mfuscope.core.runs import CalibrationKey
from mfuscope.planning.plan import Plan
from mfuscope.storage.artefacts import write_json
from mfuscope.storage.paths import counters_path
from mfuscope.workflow.counting import counted_page, uncounted, wanted

KEYS = [CalibrationKey(variant, size) for variant in ("a", "b") for size in ("1024", "512")]
PAGES = [Path("first.png"), Path("second.png")]


def planned(device: str = "cuda", counted: Sequence[str] = ()) -> Plan:
    """A plan whose pages all have one resolution, and which counts these variants."""
    plan = SimpleNamespace(
        device=device,
        counts_hardware=lambda variant: variant in counted,
        pages_at=lambda key: PAGES,
    )
    plan.check_counters = lambda: Plan.check_counters(cast(Plan, plan))
    return cast(Plan, plan)


def store(results: Path, key: CalibrationKey, page: str = "second.png", **changes: Any) -> Path:
    made = builders.counters(variant=key.variant, resolution=key.resolution, **changes)
    counted = replace(made.counted, page=replace(made.counted.page, path=page))
    path = counters_path(results, key)
    write_json(path, replace(made, counted=counted))
    return path


def test_records_that_are_there_are_read_and_asked_ones_made(tmp_path: Path) -> None:
    there = str(store(tmp_path, KEYS[0]))
    asked = [str(counters_path(tmp_path, key)) for key in KEYS[2:]]
    assert wanted(planned(), tmp_path, KEYS, new=True) == [there]
    assert wanted(planned(counted="b"), tmp_path, KEYS, new=True) == [there, *asked]
    assert wanted(planned(counted="b"), tmp_path, KEYS, new=False) == [there]


def test_the_page_that_was_counted_stays_the_one(tmp_path: Path) -> None:
    """Another first page is no reason to count again."""
    assert counted_page(planned(), tmp_path, KEYS[0]) == PAGES[0]
    store(tmp_path, KEYS[0])
    assert counted_page(planned(), tmp_path, KEYS[0]) == PAGES[1]
    store(tmp_path, KEYS[0], page="gone.png")
    assert counted_page(planned(), tmp_path, KEYS[0]) == PAGES[0]


def test_a_cpu_has_no_counters(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Nsight Compute counts on CUDA GPUs"):
        counted_page(planned("cpu"), tmp_path, KEYS[0])


def test_what_was_not_counted_is_told_with_the_way_to_try_again(tmp_path: Path) -> None:
    store(tmp_path, KEYS[0])
    path = store(tmp_path, KEYS[1], stages={}, components={}, absent={"stages": "there is no ncu"})
    (line,) = uncounted(tmp_path)
    assert "a at 512: none, there is no ncu" in line
    assert f"rm {path}" in line
