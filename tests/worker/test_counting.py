"""The job that counts hardware, with a worker of known answers and a stand-in for ncu."""

import gzip
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders
import msgspec
import pytest
from checkpoints import ROOT

from mfuscope.core.counters import Counters
from mfuscope.core.runs import CalibrationKey
from mfuscope.measure import ncu
from mfuscope.storage.tables import read_table
from mfuscope.storage.validation import read_record
from mfuscope.worker import counting
from mfuscope.worker.leases import MeasuringDevice
from mfuscope.worker.protocol import TraceCounted
from mfuscope.worker.runtime import Runtime

DATA = ROOT / "tests" / "data"
TABLE = gzip.decompress((DATA / "h100-counters.csv.gz").read_bytes())

# Takes the place after --log-file as ncu does, and shows what it was started with.
STAND_IN = """#!/bin/sh
if [ "$1" = --version ]; then echo "Version 2025.3.1.0"; exit; fi
echo "$@" > {folder}/arguments; echo "$CUDA_VISIBLE_DEVICES" > {folder}/device
while [ "$1" != --log-file ]; do shift; done
{act}
"""


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A worker that traced the pass whose counters `TABLE` has; `ended` once it was ended."""
    lease = (tmp_path / "lease").open("w")
    made = SimpleNamespace(
        model={"compile": "none"},
        device=MeasuringDevice("GPU-1", "cuda"),
        lease_file=lease.fileno(),
        ended=False,
    )

    def ask(request: TraceCounted) -> bytes:
        with gzip.open(DATA / "h100-counted-pass.json.gz") as trace:
            Path(request.trace).write_bytes(trace.read())
        return msgspec.json.encode(builders.counters().counted)

    def end_workers() -> None:
        made.ended = True

    made.ask, made.end_workers = ask, end_workers

    @contextmanager
    def leased_worker(runtime: object, model: object) -> Iterator[SimpleNamespace]:
        yield made

    monkeypatch.setattr(counting, "leased_worker", leased_worker)
    return made


def stand_in(folder: Path, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "ncu"
    program.write_text(STAND_IN.format(folder=folder, act=act))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(ncu, "find_ncu", lambda: program)


def count(runtime: Runtime, folder: Path, compiling: str = "none") -> Counters:
    results = folder / "results" / "baseline" / "counters"
    settings: dict[str, Any] = {"model": {"compile": compiling}, "batch_size": 1}
    counting.count_hardware(
        runtime,
        folder / "page.png",
        max_megapixels=150,
        record=results / "1024.json",
        table=results / "1024.csv",
        settings=settings,
        bundled_models=folder,
        key=CalibrationKey("baseline", "1024"),
    )
    return read_record(results / "1024.json", Counters)


def test_the_record_and_the_table_have_every_kernel(
    runtime: Runtime, worker: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table").write_bytes(TABLE)
    stand_in(tmp_path, f'cat {tmp_path}/table > "$2"', monkeypatch)
    found = count(runtime, tmp_path)
    assert worker.ended  # its model would take the memory that the counted process needs
    assert (found.tool, found.absent) == ("2025.3.1.0", {})
    assert found.stages["decode_step"].tensor_flops == 335_544_320
    path = tmp_path / "results/baseline/counters/1024.csv"
    table = read_table(path)
    assert len(table) == found.stages["prefill"].kernels + found.stages["decode_step"].kernels
    assert path.stat().st_size == found.table_bytes
    assert (tmp_path / "device").read_text() == "GPU-1\n"
    arguments = (tmp_path / "arguments").read_text()
    assert "mfuscope.worker.counted" in arguments
    assert "graph-profiling" not in arguments


def test_compiled_variants_count_the_kernels_of_graphs(
    runtime: Runtime, worker: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.model["compile"] = "decode"
    stand_in(tmp_path, "true", monkeypatch)
    count(runtime, tmp_path, "decode")
    assert "--graph-profiling node" in (tmp_path / "arguments").read_text()


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("echo '==ERROR== ERR_NVGPUCTRPERM - no' > \"$2\"", "--cap-add SYS_ADMIN"),
        ("echo '==ERROR== Failed to find metric dram'", "ncu: Failed to find metric dram"),
        ("exit 1", "ncu wrote no table of kernels"),
        # A table and then an error: what it holds may be a part.
        ('cat {table} > "$2"; echo "==ERROR== Out of memory" >> "$2"', "ncu: Out of memory"),
        # Ended early, without a word.
        ('head -n 300 {table} > "$2"', "ncu counted"),
        ("sed s/prefill:/other:/ {table} | sed s/decode_step/other/ > $2", "0 of its 510 kernels"),
    ],
)
def test_what_ncu_cannot_do_is_a_record_that_says_why(
    act: str, reason: str, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table").write_bytes(TABLE)
    stand_in(tmp_path, act.format(table=tmp_path / "table"), monkeypatch)
    found = count(runtime, tmp_path)
    assert not found.stages
    assert reason in found.absent["stages"]


def test_without_ncu_no_worker_is_ended(
    runtime: Runtime, worker: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncu, "find_ncu", lambda: None)
    found = count(runtime, tmp_path)
    assert (found.tool, found.stages, worker.ended) == (None, {}, False)
    assert "install Nsight Compute" in found.absent["stages"]


def test_an_ncu_that_hangs_is_ended(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, f"exec {shutil.which('sleep')} 60", monkeypatch)
    monkeypatch.setattr(counting, "_seconds", lambda limits: 0.5)
    assert "longer than 0.5 s" in count(runtime, tmp_path).absent["stages"]
