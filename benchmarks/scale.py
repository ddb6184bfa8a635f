"""Planning, aggregation and a call with nothing to do, at growing numbers of images.

The records are those of one real run of the nano model, repeated under other names.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from common import Figure, Options, checkout, child, seconds
from PIL import Image

REPEATS = 3
SNAKEMAKE = ["-m", "snakemake"]


def measure(options: Options) -> Iterator[Figure]:
    """For each number of images: plan, derive everything, do nothing."""
    # A few tokens, the schema's own minimum of work.
    settings = {"device": "cpu", "max_new_tokens": 4, "warmup": 0, "repeats": REPEATS}
    (options.folder / "template").mkdir()
    template = checkout(options.folder / "template" / "one", _pages(options.folder / "a", 1))
    config = template / "config" / "config.yaml"
    config.write_text(json.dumps({"images": "pages"} | settings | {"repeats": 1}))
    child(SNAKEMAKE, template)
    for number in options.images:
        folder = checkout(
            options.folder / f"of-{number}", _pages(options.folder / str(number), number)
        )
        (folder / "config" / "config.yaml").write_text(json.dumps({"images": "pages"} | settings))
        at = f"{number} images x {REPEATS}: "
        plan_s = seconds([*SNAKEMAKE, "-n", "-q"], folder)
        yield Figure(at + "plan (snakemake -n -q)", plan_s, "s", "at most 45")
        _fill(folder, template)
        derived = json.loads(child([__file__, str(folder)]))
        limit = "at most 60 together"
        yield Figure(at + "metrics.csv", derived["metrics_s"], "s", limit)
        yield Figure(at + "summary.csv", derived["summary_s"], "s", limit)
        yield Figure(at + "peak memory of both", derived["peak_mb"], "MB", "at most 1000")
        yield Figure(at + "call that derives every table", seconds(SNAKEMAKE, folder), "s")
        nothing_s = seconds(SNAKEMAKE, folder)
        yield Figure(at + "call with nothing to do", nothing_s, "s", "at most 45")


def _pages(folder: Path, number: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = []
    for index in range(number):
        page = Image.new("RGB", (32, 32), (index % 256, index // 256, 0))
        paths.append(folder / f"page{index:05d}.png")
        page.save(paths[-1])
    return paths


def _fill(folder: Path, template: Path) -> None:
    """Results as if every run had been made."""
    results, source = folder / "results", template / "results"
    results.mkdir()
    for name in ("ceiling.json", "hardware.json", "baseline/calibration"):
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, results / name)
    made = next((source / "baseline" / "runs").iterdir()).name
    run = json.loads((source / "baseline" / "runs" / made / "0.json").read_bytes())
    # In the order in which they would come: what is derived is newer.
    kinds = {path.name for path in (source / "baseline").iterdir()} - {"calibration"}
    for kind in sorted(kinds, key=lambda kind: (kind != "runs", kind != "traces", kind)):
        (first,) = (source / "baseline" / kind / made).iterdir()
        suffix, content = first.name.removeprefix("0."), first.read_bytes()
        for page in sorted((folder / "pages").iterdir()):
            target = results / "baseline" / kind / page.name
            target.mkdir(parents=True)
            for repeat in range(REPEATS):
                if kind == "runs":
                    own = {"image": page.name, "repeat": repeat}
                    own["page"] = run["page"] | {
                        "path": f"pages/{page.name}",
                        "sha256": hashlib.sha256(page.read_bytes()).hexdigest(),
                    }
                    content = json.dumps(run | own).encode()
                (target / f"{repeat}.{suffix}").write_bytes(content)


def _derive(folder: Path) -> dict[str, float]:
    import resource
    import time

    from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
    from mfuscope.metrics.run_metrics import metrics_table
    from mfuscope.metrics.statistics import summarise
    from mfuscope.storage.artefacts import read_json

    baseline = folder / "results" / "baseline"
    counted = [read_json(path, Calibration) for path in (baseline / "calibration").iterdir()]
    started = time.perf_counter()
    table = metrics_table(
        (read_json(path, Run) for path in sorted(baseline.glob("runs/*/*.json"))),
        (read_json(path, Activity) for path in sorted(baseline.glob("activity/*/*.json"))),
        {(one.variant, one.resolution): one for one in counted},
        read_json(folder / "results" / "hardware.json", Hardware),
        read_json(folder / "results" / "ceiling.json", Ceiling),
    )
    between = time.perf_counter()
    assert len(summarise(table))
    return {
        "metrics_s": between - started,
        "summary_s": time.perf_counter() - between,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


if __name__ == "__main__":
    import sys

    print(json.dumps(_derive(Path(sys.argv[1]))))
