"""Whether reading traces beside a measurement slows it: with and without it, in turn.

With `--cores N`, Snakemake reads the traces of earlier runs on other cores while a run is measured.
Here as many processes read one trace again and again, and are stopped for every other call for one
token, and for every other block of decode steps of one and the same call.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import compress, pairwise
from pathlib import Path
from typing import Any

from common import ROOT, Figure, Options, bundled_pages, child, default_session
from stage_timing import IN_TURN, TOKENS, generation, interval, timed

_SETTLE_S = 0.02  # after starting or stopping the readers
_BLOCK, _SETTLING = 8, 2  # decode steps of a block, of which the first ones do not count
_BLOCKS = 32  # of a call

_READ = """
import sys
from pathlib import Path
from mfuscope.traces.columns import read_trace
from mfuscope.traces.kernels import kernel_table
from mfuscope.traces.operators import operator_table
while True:
    trace = read_trace(Path(sys.argv[1]))
    kernel_table(trace), operator_table(trace)
"""


def measure(options: Options) -> Iterator[Figure]:
    """How much longer prefill and decode are beside readers, with 95 % intervals."""
    readers = max(options.cores - 1, 1)
    page = str(bundled_pages(1)[0])
    found = json.loads(child([__file__, page, str(options.pairs), str(readers)]))
    yield Figure("processes that read traces", readers, "")
    yield Figure("groups of four calls, and of four blocks of steps", options.pairs, "")
    for stage, (low, median, high) in found["longer"].items():
        yield Figure(f"beside readers: {stage} longer by (median)", 100 * median, "%", "within 1 %")
        yield Figure(f"beside readers: {stage}, 95 % interval from", 100 * low, "%")
        yield Figure(f"beside readers: {stage}, 95 % interval to", 100 * high, "%")


def _main(path: Path, groups: int, readers: int) -> dict[str, Any]:
    from mfuscope.config.settings import ProfilerSettings
    from mfuscope.measure.profiler import recording
    from mfuscope.pages.decoding import decode_page

    session = default_session()
    page = session.inputs(decode_page(path, 150).image, "auto")
    for _ in range(3):
        timed(session, page, generation(TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with recording(ProfilerSettings(None, False, False, False), session.device) as profile:
            timed(session, page, generation(TOKENS))
        profile.export_chrome_trace(str(trace))
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _READ, str(trace)],
                env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{os.environ['PYTHONPATH']}"},
            )
            for _ in range(readers)
        ]
        time.sleep(5)  # they have imported what they need
        try:
            return {"longer": _longer(session, page, groups, processes)}
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _switch(processes: list[subprocess.Popen[bytes]], *, run: bool) -> None:
    for process in processes:
        process.send_signal(signal.SIGCONT if run else signal.SIGSTOP)


def _longer(
    session: Any, page: Any, groups: int, processes: list[subprocess.Popen[bytes]]
) -> dict[str, tuple[float, float, float]]:
    return {
        "prefill": interval(_ratios(_prefills(session, page, groups, processes))),
        "decode": interval(_ratios(_decodes(session, page, groups, processes))),
    }


def _prefills(session: Any, page: Any, groups: int, processes: Any) -> list[float]:
    """Calls for one token, beside readers or not, `IN_TURN`."""
    found = []
    for beside in IN_TURN * groups:
        _switch(processes, run=beside)
        time.sleep(_SETTLE_S)
        found.append(timed(session, page, generation(1)).prefill_ms)
    return found


def _decodes(session: Any, page: Any, groups: int, processes: Any) -> list[float]:
    """Blocks of steps, beside readers or not, `IN_TURN`: medians without the first steps."""
    found: list[float] = []
    while len(found) < groups * len(IN_TURN):
        times: list[float] = []

        def on_logits(times: list[float] = times) -> None:
            if len(times) % _BLOCK == 0:
                _switch(processes, run=IN_TURN[len(times) // _BLOCK % len(IN_TURN)])
            times.append(time.perf_counter())

        session.generate(page, generation(_BLOCKS * _BLOCK + 1), on_logits=on_logits)
        steps = [after - before for before, after in pairwise(times)]
        found += [
            statistics.median(steps[at + _SETTLING : at + _BLOCK])
            for at in range(0, _BLOCKS * _BLOCK, _BLOCK)
        ]
    return found[: groups * len(IN_TURN)]


def _ratios(values: list[float]) -> list[float]:
    """How much longer beside readers, for each group."""
    groups = zip(*[iter(values)] * len(IN_TURN), strict=True)
    sums = [(sum(g) - (on := sum(compress(g, IN_TURN))), on) for g in groups]
    return [on / off - 1 for off, on in sums]


if __name__ == "__main__":
    print(json.dumps(_main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
