"""What a measuring job writes of the worker's answer, with a worker of known answers."""

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
from mfuscope.core.runs import RunKey
from mfuscope.storage.artefacts import read_json
from mfuscope.worker import jobs
from mfuscope.worker.protocol import MeasureRun
from mfuscope.worker.runtime import Runtime

TRACE = b'{"traceEvents": [{}]}'


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def leased_worker(runtime: object, model: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(model={}, ask=ask)

    def ask(request: MeasureRun) -> bytes:
        Path(request.trace).write_bytes(TRACE)
        session = builders.session(call=request.call)
        return msgspec.json.encode(builders.run(trace_bytes=0, session=session))

    monkeypatch.setattr(jobs, "leased_worker", leased_worker)


def measure_run(runtime: Runtime, folder: Path, page_sha256: str) -> None:
    settings: dict[str, Any] = {"model": {}}
    jobs.measure_run(
        runtime,
        folder / "page.png",
        page_sha256=page_sha256,
        max_megapixels=150,
        run=folder / "runs" / "0.json",
        trace=folder / "traces" / "0.json.gz",
        settings=settings,
        bundled_models=folder,
        key=RunKey("baseline", "page.png", 0),
        call=builders.CALL,
    )


def test_the_record_has_the_size_of_the_trace(runtime: Runtime, tmp_path: Path) -> None:
    measure_run(runtime, tmp_path, builders.SHA256)
    packed = tmp_path / "traces" / "0.json.gz"
    assert gzip.decompress(packed.read_bytes()) == TRACE
    run = read_json(tmp_path / "runs" / "0.json", Run)
    assert run == builders.run(trace_bytes=packed.stat().st_size)


def test_a_page_that_changed_meanwhile_is_reported_and_leaves_no_file(
    runtime: Runtime, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"page\.png' changed while the workflow ran"):
        measure_run(runtime, tmp_path, "0" * 64)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "traces").exists()
