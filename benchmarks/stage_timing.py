"""What stage timing costs: `generate` with and without the hooks, in turns, in one process.

Also whether having traced once slows the passes that are timed later, as both happen in the
process that keeps the model.
"""

import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import Figure, Options, bundled_pages, child, default_session

if TYPE_CHECKING:
    from mfuscope.sessions import Session

TOKENS = 64
SHORT = 16


def measure(options: Options) -> Iterator[Figure]:
    """Relative cost for prefill and decode with 95 % intervals, and of an earlier trace."""
    found = json.loads(child([__file__, str(bundled_pages(1)[0]), str(options.pairs)]))
    yield Figure("pairs", options.pairs, "")
    for stage in ("prefill", "decode"):
        low, median, high = (100 * value for value in found[stage])
        yield Figure(f"stage timing: {stage} longer by (median)", median, "%", "within 1 %")
        yield Figure(f"stage timing: {stage}, 95 % interval from", low, "%")
        yield Figure(f"stage timing: {stage}, 95 % interval to", high, "%")
    yield Figure("hooks of a decode step, called alone", found["hooks_us"], "us")
    yield Figure("a decode step", found["step_us"], "us")
    yield Figure("after a traced pass: whole call longer by", 100 * found["traced"], "%")


def _interval(values: list[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval: order statistics, whatever the distribution."""
    ordered = sorted(values)
    reach = 0.98 * len(ordered) ** 0.5
    middle = len(ordered) / 2
    low, high = ordered[int(middle - reach)], ordered[math.ceil(middle + reach)]
    return low, statistics.median(ordered), high


def _hooks_us(session: "Session") -> float:
    """What one decode step's hooks take, without a model between them."""
    from mfuscope.stages import StageTimer

    timer, steps = StageTimer(session.model, session.device), 1000
    with timer.measure():
        timer._after_forward()
        started = time.perf_counter()
        for _ in range(steps):
            timer._before_forward()
            timer._after_forward()
        return (time.perf_counter() - started) / steps * 1e6


def _main(path: Path, pairs: int) -> dict[str, Any]:
    """Differences of pairs, as shares of the stage's length without the hooks."""
    from mfuscope.preprocess import read_page
    from mfuscope.settings import ProfilerSettings
    from mfuscope.stages import StageTimer, device_clock
    from mfuscope.tracing import recording

    session = default_session()
    page = session.inputs(read_page(path), "auto")
    clock = device_clock(session.device)

    def bare(tokens: int) -> float:
        clock.synchronise()
        started = time.perf_counter()
        session.generate(page, tokens, ignore_eos=True)
        clock.synchronise()
        return time.perf_counter() - started

    def instrumented(tokens: int) -> float:
        timer = StageTimer(session.model, session.device)
        with timer.measure():
            session.generate(page, tokens, ignore_eos=True)
        return timer.times(tokens).host_ms / 1e3

    for _ in range(3):
        bare(TOKENS)
    untraced = [bare(TOKENS) for _ in range(pairs // 10)]
    longer: dict[str, list[float]] = {"prefill": [], "decode": []}
    lengths: dict[str, list[float]] = {"prefill": [], "decode": []}

    def both(tokens: int) -> dict[Any, float]:
        # What ran before a call changes its time by more than the hooks do: A B B A cancels that.
        taken = dict.fromkeys((bare, instrumented), 0.0)
        for way in (bare, instrumented, instrumented, bare):
            taken[way] += way(tokens) / 2
        return taken

    for _ in range(pairs):
        first, whole = both(1), both(SHORT)
        decode = {way: whole[way] - first[way] for way in first}
        for stage, seconds in (("prefill", first), ("decode", decode)):
            longer[stage].append(seconds[instrumented] - seconds[bare])
            lengths[stage].append(seconds[bare])
    found: dict[str, Any] = {}
    for stage, differences in longer.items():
        length = statistics.median(lengths[stage])
        found[stage] = [value / length for value in _interval(differences)]
    found["hooks_us"] = _hooks_us(session)
    found["step_us"] = statistics.median(lengths["decode"]) / (SHORT - 1) * 1e6
    everything = ProfilerSettings(None, False, False, False)
    with recording(everything, session.device):
        bare(TOKENS)
    bare(TOKENS)
    traced = [bare(TOKENS) for _ in range(pairs // 10)]
    found["traced"] = statistics.median(traced) / statistics.median(untraced) - 1
    return found


if __name__ == "__main__":
    import sys

    print(json.dumps(_main(Path(sys.argv[1]), int(sys.argv[2]))))
