"""A stand-in for the workflow: a process that owns workers and runs jobs, without Snakemake."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import builders
import msgspec
from processes import SUPPORT, WORKER, Faults, runtime_of

from mfuscope.core.records import Run
from mfuscope.models.spec import resolve_model
from mfuscope.storage.artefacts import read_json
from mfuscope.worker.runtime import Runtime

ROOT = SUPPORT.parents[1]
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"


class Workflow:
    """A process that owns workers, as Snakemake does, and runs jobs that it is sent.

    Its context ends as a workflow does.

    Args:
        model: a model's folder; None for the stand-in, which needs no torch (stand_in_model.py).
        environment: additional variables.
    """

    def __init__(
        self,
        folder: Path,
        faults: Faults,
        keep_alive: float = 60,
        model: Path | None = None,
        **environment: str,
    ) -> None:
        self.folder = folder
        self.faults = faults
        self.model: dict[str, Any] = {
            "model": str(model),
            "load_format": "auto",
            "dtype": "auto",
            "attention": "sdpa",
            "experts": "auto",
            "compile": "none",
            "threads": 0,
            "prompt": "Free OCR.",
            "device": "cpu",
        }
        if model is None:
            environment["MFUSCOPE_TEST_RECORDS"] = str(_write_records(folder / "records"))
        else:
            spec = resolve_model(str(model), "auto", ROOT / "config" / "models")
            self.model["fingerprint"] = spec.fingerprint
        path = os.pathsep.join([str(SUPPORT / "faults"), str(SUPPORT), str(ROOT / "src")])
        self.process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "workflow_process.py"), str(keep_alive)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # As under `--cores 1`: a worker must not inherit it.
            env=os.environ
            | faults.environment
            | environment
            | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            text=True,
        )
        self.runtime: Runtime = runtime_of(self.process.pid)

    def __enter__(self) -> "Workflow":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self, name: str, **changes: Any) -> None:
        """Start a job; `changes` are to what workflow_process.py reads."""
        job = {
            "page": str(PAGE),
            "page_sha256": builders.SHA256,
            "run": str(self.folder / f"{name}.json"),
            "trace": str(self.folder / f"{name}.json.gz"),
            "log": str(self.folder / f"{name}.log"),
            "model": self.model,
        }
        if "fingerprint" in self.model:
            job["page_sha256"] = hashlib.sha256(PAGE.read_bytes()).hexdigest()
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(job | changes).decode() + "\n")
        self.process.stdin.flush()

    def wait(self) -> tuple[int, int]:
        """Wait for the oldest job; returns its exit status and its process number."""
        assert self.process.stdout is not None
        status, number = self.process.stdout.readline().split()
        return int(status), int(number)

    def measure(self, name: str, **changes: Any) -> Run:
        """A job that must succeed."""
        self.begin(name, **changes)
        status, _ = self.wait()
        assert status == 0, self.log(name)
        return read_json(self.folder / f"{name}.json", Run)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def workers(self) -> list[int]:
        return list(self.faults.processes(WORKER))

    def end(self) -> None:
        """As at the end of a workflow."""
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        assert self.process.wait(30) == 0


def _write_records(folder: Path) -> Path:
    """The records that the stand-in for a model gives."""
    folder.mkdir()
    (folder / "run.json").write_bytes(msgspec.json.encode(builders.run()))
    (folder / "calibration.json").write_bytes(msgspec.json.encode(builders.calibration()))
    return folder
