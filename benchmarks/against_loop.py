"""The whole workflow against one process that does the same passes in a loop.

The loop does all that measures: ceilings of the device, model build, calibrations, warm-ups, both
passes of every run, traces saved and packed. The workflow does the same, and derives the operator
tables, metrics, statistics and reports, each run a job of its own.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from common import Figure, Options, bundled_pages, checkout, child, seconds
from PIL import Image


def measure(options: Options) -> Iterator[Figure]:
    """Ratio and overhead, then a second call after one page was edited."""
    folder = checkout(
        options.folder / "workflow", bundled_pages(options.pages), repeats=options.repeats
    )
    runs = options.pages * options.repeats
    child(["-c", "import torch, transformers, pandas, snakemake"])  # from the disk's cache, both
    loop_s = seconds([str(Path(__file__).with_name("loop.py"))], folder)
    snakemake = ["-m", "snakemake", "--cores", str(options.cores), "--resources", "gpu=1"]
    workflow_s = seconds(snakemake, folder)
    records = [json.loads(path.read_bytes()) for path in folder.glob("results/*/runs/*/*.json")]
    assert len(records) == runs
    yield Figure("runs", runs, "runs")
    yield Figure("single-process loop", loop_s, "s")
    yield Figure("workflow", workflow_s, "s")
    limit = "at most 1.5 on a CPU, 1.25 on a GPU"
    yield Figure("workflow / loop", workflow_s / loop_s, "x", limit)
    yield Figure("overhead per run", (workflow_s - loop_s) / runs, "s")
    builds = sum(record["runs_before"] == 0 for record in records)
    yield Figure("processes that built the model", builds, "", "1")
    page = sorted((folder / "pages").iterdir())[0]
    with Image.open(page) as image:
        image.transpose(Image.Transpose.ROTATE_180).save(page)
    again_s = seconds(snakemake, folder)
    yield Figure("again after one page was edited", again_s, "s")
    yield Figure("again / first call", again_s / workflow_s, "x")
