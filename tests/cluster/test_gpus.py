"""On two CUDA GPUs: each measures beside the other, on this host and in allocations of Slurm.

Run with ``pytest -m gpu``; what the machine lacks for a test skips it.
"""

import importlib.util
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkouts import FIRST, SECOND, THIRD, Checkout, make_checkout
from cluster import DAEMONS, SUBMITTING, cluster
from validate import validate_results

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA GPUs"),
]

SLURM = (
    os.geteuid() == 0
    and importlib.util.find_spec("snakemake_executor_plugin_slurm") is not None
    and all(
        shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("munged", *DAEMONS)
    )
)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = make_checkout(tmp_path / "checkout")
    # At full size, so that the runs take longer than the start of the second worker.
    made.configure(images="my pages", model="deepseek-ocr", load_format="dummy", repeats=4)
    for page in (FIRST, SECOND, THIRD):
        made.add_page(page)
    return made


def by_gpu(checkout: Checkout) -> dict[str, list[dict[str, Any]]]:
    """The records of runs, by the UUID of the GPU that measured them, in their order there."""
    found = [json.loads(path.read_text()) for path in checkout.results.glob("*/runs/*/*.json")]
    found.sort(key=lambda run: (run["device"]["uuid"], run["runs_before"]))
    groups = itertools.groupby(found, key=lambda run: run["device"]["uuid"])
    return {uuid: list(runs) for uuid, runs in groups}


def assert_side_by_side(checkout: Checkout) -> None:
    assert validate_results(checkout.results) > 0
    measured = by_gpu(checkout)
    assert len(measured) == 2
    assert sum(map(len, measured.values())) == 12
    for runs in measured.values():
        # One worker, and so one build, a GPU.
        assert [run["runs_before"] for run in runs] == list(range(len(runs)))
    spans = [[run["measured_at"] for run in runs] for runs in measured.values()]
    assert max(map(min, spans)) < min(map(max, spans))
    assert len(checkout.table("metrics.csv")) == 12


def test_two_gpus_of_this_host(checkout: Checkout) -> None:
    said = checkout.run("--cores", "4", "--resources", "gpu=2")
    assert "12 runs to measure" in said
    assert_side_by_side(checkout)


@pytest.mark.skipif(not SLURM, reason="no Slurm to start (docs/cluster.md)")
def test_two_allocations_with_a_gpu_each(checkout: Checkout, tmp_path: Path) -> None:
    with cluster(tmp_path / "cluster", ["/dev/nvidia0", "/dev/nvidia1"]) as made:
        said = checkout.run(
            *(*SUBMITTING, "--group-components", "measure=6", "calibrate=6"), **made.environment
        )
        print(said)
        submitted = made.ask("squeue", "--all", "--noheader", "--states=all", "--format=%T")
    assert submitted.split() == ["COMPLETED"] * 4  # 2 batches, calibrations, probe
    assert_side_by_side(checkout)
