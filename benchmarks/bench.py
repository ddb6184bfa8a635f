"""Measure mfuscope itself: ``make bench``, or ``python benchmarks/bench.py [NAME ...] [options]``.

Prints a table and writes it as JSON to benchmarks/results/. Figures are ratios within one call
wherever they can be, as machines are noisy and differ.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import against_key_averages
import against_loop
import neighbours
import scale
import stage_timing
from common import RESULTS, Figure, Options, machine

BENCHMARKS = {
    "workflow": against_loop.measure,
    "stage_timing": stage_timing.measure,
    "neighbours": neighbours.measure,
    "traces": against_key_averages.measure,
    "scale": scale.measure,
}


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--pages", type=int, default=12, help="bundled pages to measure")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=1, help="for the workflow")
    parser.add_argument("--images", type=int, nargs="*", default=[30, 300, 3000], help="for scale")
    parser.add_argument("--pairs", type=int, default=150, help="groups of calls that alternate")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; use {', '.join(BENCHMARKS)}")
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    figures: list[Figure] = []
    for name in given.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="mfuscope-bench-") as folder:
            options = Options(
                Path(folder),
                given.pages,
                given.repeats,
                given.cores,
                tuple(given.images),
                given.pairs,
            )
            for figure in BENCHMARKS[name](options):
                figures.append(figure)
                print(f"{name:>12}  {figure}", flush=True)
    record = {
        "machine": facts,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": " ".join(["python", "benchmarks/bench.py", *sys.argv[1:]]),
        "figures": [figure.record() for figure in figures],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    names = "-".join(given.names) or "all"
    path = given.out / f"{record['date']}-{facts['kind']}-{names}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
