"""What a measuring job files of the worker's answer, with a worker that knows its answer."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders
import msgspec
import pytest

from mfuscope.core.errors import UserError
from mfuscope.core.records import Run
from mfuscope.storage.artefacts import read_json
from mfuscope.worker import jobs
from mfuscope.worker.protocol import MeasureRun

TRACE = b'{"traceEvents": [{}]}'


@pytest.fixture(autouse=True)
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def job_folder() -> Iterator[Path]:
        yield tmp_path

    @contextmanager
    def leased_worker(model: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(model={}, ask=ask)

    def ask(request: MeasureRun) -> bytes:
        Path(request.trace).write_bytes(TRACE)
        return msgspec.json.encode(builders.run(trace_bytes=0))

    monkeypatch.setattr(jobs, "job_folder", job_folder)
    monkeypatch.setattr(jobs, "leased_worker", leased_worker)


def measure_run(folder: Path, page_sha256: str) -> None:
    settings: dict[str, Any] = {"model": {}}
    jobs.measure_run(
        folder / "page.png",
        page_sha256=page_sha256,
        run=folder / "runs" / "0.json",
        trace=folder / "traces" / "0.json.gz",
        settings=settings,
        bundled_models=folder,
        variant="baseline",
        image="page.png",
        repeat=0,
    )


def test_the_record_tells_how_long_the_trace_is(tmp_path: Path) -> None:
    measure_run(tmp_path, builders.SHA256)
    packed = tmp_path / "traces" / "0.json.gz"
    assert gzip.decompress(packed.read_bytes()) == TRACE
    run = read_json(tmp_path / "runs" / "0.json", Run)
    assert run == builders.run(trace_bytes=packed.stat().st_size)


def test_a_page_that_changed_meanwhile_is_told_and_files_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"page\.png' changed while the workflow ran"):
        measure_run(tmp_path, "0" * 64)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "traces").exists()
