"""Reading a full run's trace against torch.profiler's own `key_averages()`, each in a process."""

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from common import Figure, Options, bundled_pages, child, default_session

if TYPE_CHECKING:
    from torch.profiler import profile


def measure(options: Options) -> Iterator[Figure]:
    """Events per second and peak memory of both ways."""
    trace = options.folder / "trace.json.gz"
    theirs = json.loads(child([__file__, "trace", str(bundled_pages(1)[0]), str(trace)]))
    ours = json.loads(child([__file__, "read", str(trace)]))
    events = ours["events"]
    yield Figure("events in the trace of one run", events, "")
    yield Figure("trace, packed", trace.stat().st_size / 1e6, "MB")
    yield Figure("stopping the profiler", theirs["stop_s"], "s")
    yield Figure("saving the trace", theirs["save_s"], "s")
    yield Figure("packing the trace, the device free", theirs["pack_s"], "s")
    yield Figure("operator and kernel table, activity from the packed trace", ours["seconds"], "s")
    rate = events / ours["seconds"]
    yield Figure("read and tabulated", rate, "events/s", "at least 200,000")
    yield Figure("peak memory of reading", ours["peak_mb"], "MB")
    yield Figure("key_averages()", theirs["averages_s"], "s")
    yield Figure("key_averages(): peak memory on top", theirs["averages_mb"], "MB")
    ratio = theirs["averages_s"] / ours["seconds"]
    yield Figure("key_averages() / reading", ratio, "x", "at least 10")


def _trace(page: str, packed: str) -> dict[str, float]:
    """Trace one full run, save it, then have torch average it."""
    from stage_timing import TOKENS

    from mfuscope.config.settings import ProfilerSettings
    from mfuscope.measure.profiler import recording
    from mfuscope.measure.session import Generation
    from mfuscope.measure.stages import StageTimer
    from mfuscope.pages.decoding import decode_page
    from mfuscope.traces.file import pack_trace

    session = default_session()
    inputs = session.inputs(decode_page(Path(page), 150).image, "auto")
    generation = Generation(TOKENS, ignore_eos=True)

    def traced() -> tuple["profile", float]:
        with recording(ProfilerSettings(None, False, False, False), session.device) as profile:
            timer = StageTimer(session.model, session.device, TOKENS)
            with timer.measure():
                session.generate(inputs, generation, on_logits=timer.on_logits)
            started = time.perf_counter()
        return profile, time.perf_counter() - started

    session.generate(inputs, generation)
    traced()
    profile, stop_s = traced()
    plain = Path(packed).with_suffix("")
    saving = time.perf_counter()
    profile.export_chrome_trace(str(plain))
    packing = time.perf_counter()
    pack_trace(plain, Path(packed))
    before = _peak_mb()
    started = time.perf_counter()
    assert profile.key_averages()
    return {
        "stop_s": stop_s,
        "save_s": packing - saving,
        "pack_s": started - packing,
        "averages_s": time.perf_counter() - started,
        "averages_mb": _peak_mb() - before,
    }


def _read(packed: str) -> dict[str, float]:
    from stage_timing import TOKENS

    from mfuscope.core.runs import RunKey
    from mfuscope.traces.activity import activity
    from mfuscope.traces.columns import read_trace
    from mfuscope.traces.kernels import kernel_table
    from mfuscope.traces.operators import operator_table

    started = time.perf_counter()
    trace = read_trace(packed)
    operator_table(trace)
    kernel_table(trace)
    activity(trace, RunKey("baseline", "page.png", 0), "dummy", TOKENS - 1)
    elapsed = time.perf_counter() - started
    return {"events": trace.events, "seconds": elapsed, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    found = _trace(*sys.argv[2:]) if sys.argv[1] == "trace" else _read(sys.argv[2])
    print(json.dumps(found))
