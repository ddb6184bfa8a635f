"""A stand-in for the workflow: a process that owns workers and runs jobs, without Snakemake."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from checkpoints import MODELS, ROOT
from processes import TESTS, WORKER, Faults

from mfuscope.core.records import Run
from mfuscope.models.spec import resolve_model
from mfuscope.storage.artefacts import read_json

PAGE = ROOT / "data" / "samples" / "image_eu_map.png"


class Workflow:
    """A process that owns workers, as Snakemake does, and runs jobs that it is sent."""

    def __init__(
        self, model: Path, folder: Path, faults: Faults, keep_alive: float, **environment: str
    ) -> None:
        self.folder = folder
        self.faults = faults
        self.model = {
            "model": str(model),
            "load_format": "auto",
            "dtype": "auto",
            "attention": "sdpa",
            "prompt": "Free OCR.",
            "device": "cpu",
            "fingerprint": resolve_model(str(model), "auto", MODELS).fingerprint,
        }
        path = os.pathsep.join([str(TESTS / "faults"), str(ROOT / "src"), str(TESTS)])
        environment = os.environ | faults.environment | environment | {"PYTHONPATH": path}
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "workflow_process.py"), str(keep_alive)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # As under `--cores 1`: a worker must not inherit it.
            env=environment | {"OMP_NUM_THREADS": "1"},
            text=True,
        )

    def begin(self, name: str, **changes: Any) -> None:
        """Start a job; `changes` are to what workflow_process.py reads."""
        job = {
            "page": str(PAGE),
            "run": str(self.folder / f"{name}.json"),
            "trace": str(self.folder / f"{name}.json.gz"),
            "log": str(self.folder / f"{name}.log"),
            "model": self.model,
        }
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
