"""A folder of results as the workflow leaves it, made by hand."""

import gzip
import os
from pathlib import Path

import builders

from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.storage.artefacts import write_bytes, write_columns, write_json, write_text
from mfuscope.storage.paths import (
    CEILING,
    HARDWARE,
    TEXTS,
    RunPaths,
    calibration_path,
    counters_path,
)

IMAGES = ("a.png", "b.png")
_TEXTS = {
    ".csv": "image,width\na.png,600\n",
    ".md": "# A report\n\nA line.\n",
    ".html": "<!doctype html>\n<html>\n<body>a report</body>\n</html>\n",
    ".svg": "<svg>\n <defs></defs>\n</svg>\n",
    ".json": '{\n  "title": "a report",\n  "variants": []\n}\n',
}


def store_run(results: Path, key: RunKey) -> RunPaths:
    """The files of one run, of random traces."""
    paths = RunPaths.of(results, key)
    trace = gzip.compress(os.urandom(2000))
    write_bytes(paths.trace, trace)
    run = builders.run(
        variant=key.variant, image=key.image, repeat=key.repeat, trace_bytes=len(trace)
    )
    write_json(paths.record, run)
    sizes = {
        "operators": write_columns(paths.operators, {"operator": ["aten::mm"] * 50}),
        "kernels": write_columns(paths.kernels, {"kernel": ["gemm"] * 50}),
    }
    activity = builders.activity(
        variant=key.variant, image=key.image, repeat=key.repeat, table_bytes=sizes
    )
    write_json(paths.activity, activity)
    return paths


def store_results(results: Path) -> None:
    """One run of each image, and everything that the workflow makes beside."""
    for image in IMAGES:
        store_run(results, RunKey("baseline", image, 0))
    key = CalibrationKey("baseline", "1024")
    write_json(calibration_path(results, key), builders.calibration())
    size = write_columns(counters_path(results, key).with_suffix(".csv"), {"kernel": ["gemm"] * 50})
    write_json(counters_path(results, key), builders.counters(table_bytes=size))
    write_json(results / CEILING, builders.ceiling())
    write_json(results / HARDWARE, builders.hardware())
    for name in TEXTS:
        write_text(results / name, _TEXTS[Path(name).suffix])
