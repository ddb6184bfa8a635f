"""What stage timing costs, and whether it is right: calls with and without it, in one process.

Neighbours on the machine change times by more than the marks do, from one second to the next. So
what is compared lies side by side: calls for one token for prefill, for decode the steps of one
and the same call. Three questions:

- Do the marks slow a call? With and without them, in turn.
- Do they find the stages that hooks on the model's forward find? Both in the same calls.
- Is decode what the steps cost? A call with the steps, less a call for one token, on the host's
  clock; eager, and where there is a GPU with the decode step compiled into CUDA graphs.

Also whether having traced once slows the passes that are timed later, as both happen in the
process that keeps the model.
"""

import json
import math
import statistics
import time
from collections.abc import Iterator
from itertools import compress, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import Figure, Options, bundled_pages, child, default_session

if TYPE_CHECKING:
    from mfuscope.measure.session import Generation, Session
    from mfuscope.measure.stages import StageTimes
    from mfuscope.models.inputs import PageInputs

TOKENS = 64  # of a whole call
CALLS = 10  # whole calls before and after a trace
STEPS = 200  # of a call that alternates
AGREEING = 20  # whole calls, each between two calls for one token
# With marks or without. What ran before changes a time by more than the marks do: this cancels it.
IN_TURN = (False, True, True, False)


def measure(options: Options) -> Iterator[Figure]:
    """Relative cost for prefill and decode with 95 % intervals, agreement, and a trace's after."""
    found = json.loads(child([__file__, str(bundled_pages(1)[0]), str(options.pairs)]))
    yield Figure("groups of four calls; four times as many of steps", options.pairs, "")
    for stage in ("prefill", "decode"):
        low, median, high = (100 * value for value in found[stage])
        yield Figure(f"stage timing: {stage} longer by (median)", median, "%", "within 1 %")
        yield Figure(f"stage timing: {stage}, 95 % interval from", low, "%")
        yield Figure(f"stage timing: {stage}, 95 % interval to", high, "%")
        against = 100 * found["against_hooks"][stage]
        yield Figure(f"{stage} by marks against hooks, same calls (median)", against, "%", "1 %")
    for mode, (low, median, high) in found["agreement"].items():
        name = f"decode against the call's difference, {mode}"
        yield Figure(f"{name} (median)", 100 * median, "%", "within 2 %")
        yield Figure(f"{name}, 95 % interval from", 100 * low, "%")
        yield Figure(f"{name}, 95 % interval to", 100 * high, "%")
    yield Figure("marks of a decode step, called alone", found["marks_us"], "us")
    yield Figure("a decode step", found["step_us"], "us")
    yield Figure("after a traced pass: whole call longer by", 100 * found["traced"], "%")


def interval(values: list[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval: order statistics, whatever the distribution."""
    ordered = sorted(values)
    reach = 0.98 * len(ordered) ** 0.5
    middle = len(ordered) / 2
    low = ordered[max(int(middle - reach), 0)]
    high = ordered[min(math.ceil(middle + reach), len(ordered) - 1)]
    return low, statistics.median(ordered), high


def generation(tokens: int, **how: Any) -> "Generation":
    from mfuscope.measure.session import Generation

    return Generation(tokens, ignore_eos=True, **how)


def timed(session: "Session", page: "PageInputs", generation: "Generation") -> "StageTimes":
    from mfuscope.measure.stages import StageTimer

    tokens = generation.max_new_tokens
    timer = StageTimer(session.model, session.device, tokens)
    with timer.measure():
        session.generate(page, generation, on_logits=timer.on_logits)
    return timer.times(tokens)


def _marks_us(session: "Session") -> float:
    """What one decode step's marks take, without a model between them."""
    from mfuscope.measure.stages import StageTimer

    steps = 1000
    timer = StageTimer(session.model, session.device, steps + 2)
    with timer.measure():
        timer.on_logits()
        started = time.perf_counter()
        for _ in range(steps):
            timer.on_logits()
        return (time.perf_counter() - started) / steps * 1e6


def _prefill(session: "Session", page: "PageInputs", groups: int) -> list[float]:
    """Calls for one token, bare and with marks."""
    from mfuscope.hardware.clocks import device_clock

    clock, one = device_clock(session.device), generation(1)

    def bare() -> float:
        clock.synchronise()
        started = time.perf_counter()
        session.generate(page, one)
        clock.synchronise()
        return time.perf_counter() - started

    return [timed(session, page, one).host_ms / 1e3 if on else bare() for on in IN_TURN * groups]


def _decode(session: "Session", page: "PageInputs", groups: int) -> list[float]:
    """Steps, with their mark and without, of as many calls as it takes."""
    from mfuscope.measure.stages import StageTimer

    seconds: list[float] = []
    while len(seconds) < groups * len(IN_TURN):
        timer = StageTimer(session.model, session.device, STEPS + 1)
        starts: list[float] = []

        def on_logits(timer: StageTimer = timer, starts: list[float] = starts) -> None:
            starts.append(time.perf_counter())
            if len(starts) == 1 or IN_TURN[len(starts) % len(IN_TURN)]:
                timer.on_logits()

        with timer.measure():
            session.generate(page, generation(STEPS + 1), on_logits=on_logits)
        steps = [after - before for before, after in pairwise(starts)]
        # The first step's mark also takes away the hooks of prefill.
        seconds += steps[3 : 3 + (len(steps) - 3) // len(IN_TURN) * len(IN_TURN)]
    return seconds[: groups * len(IN_TURN)]


def _against_hooks(session: "Session", page: "PageInputs") -> dict[str, float]:
    """How much longer each stage is by marks than by hooks on the model's forward."""
    from mfuscope.hardware.clocks import device_clock

    clock = device_clock(session.device)
    longer: dict[str, list[float]] = {"prefill": [], "decode": []}
    for _ in range(AGREEING):
        logits: list[Any] = []
        handle = session.model.register_forward_hook(
            lambda *_, logits=logits: logits.append(clock.mark())
        )
        try:
            clock.synchronise()
            start = clock.mark()
            times = timed(session, page, generation(TOKENS))
            end = clock.mark()
            clock.synchronise()
        finally:
            handle.remove()
        prefill, decode = clock.elapsed_ms(start, logits[0]), clock.elapsed_ms(logits[0], end)
        longer["prefill"].append(times.prefill_ms / prefill - 1)
        longer["decode"].append(times.decode_ms / decode - 1)
    return {stage: statistics.median(values) for stage, values in longer.items()}


def _agreement(session: "Session", page: "PageInputs", **how: Any) -> tuple[float, float, float]:
    """Decode against the difference of a whole call and one for a token, on the host's clock."""
    from mfuscope.hardware.clocks import device_clock

    clock, whole = device_clock(session.device), generation(TOKENS, **how)

    def one_token() -> float:
        clock.synchronise()
        started = time.perf_counter()
        session.generate(page, whole, most_tokens=1)
        clock.synchronise()
        return (time.perf_counter() - started) * 1e3

    for _ in range(5):
        timed(session, page, whole)
    ratios = []
    for _ in range(AGREEING):
        before = one_token()
        times = timed(session, page, whole)
        after = one_token()
        ratios.append(times.decode_ms / (times.host_ms - (before + after) / 2) - 1)
    return interval(ratios)


def _longer(seconds: list[float]) -> list[float]:
    """How much longer with marks, as a share of without: one value for each group."""
    groups = zip(*[iter(seconds)] * len(IN_TURN), strict=True)
    sums = [(sum(g) - (on := sum(compress(g, IN_TURN))), on) for g in groups]
    return [on / off - 1 for off, on in sums]


def _main(path: Path, groups: int) -> dict[str, Any]:
    from mfuscope.config.settings import ProfilerSettings
    from mfuscope.measure.profiler import recording
    from mfuscope.pages.decoding import decode_page

    session = default_session()
    page = session.inputs(decode_page(path, 150).image, "auto")

    def whole_call() -> float:
        started = time.perf_counter()
        session.generate(page, generation(TOKENS)).tolist()
        return time.perf_counter() - started

    for _ in range(3):
        whole_call()
    found: dict[str, Any] = {"marks_us": _marks_us(session)}
    found["prefill"] = interval(_longer(_prefill(session, page, groups)))
    steps = _decode(session, page, 4 * groups)
    found["decode"] = interval(_longer(steps))
    found["step_us"] = statistics.median(steps) * 1e6
    found["against_hooks"] = _against_hooks(session, page)
    found["agreement"] = {"eager": _agreement(session, page)}
    if session.device.type == "cuda":
        compiled = default_session(compiling="decode")
        found["agreement"]["compiled"] = _agreement(compiled, page, cache="static")
    untraced = [whole_call() for _ in range(CALLS)]
    with recording(ProfilerSettings(None, False, False, False), session.device):
        whole_call()
    whole_call()
    traced = [whole_call() for _ in range(CALLS)]
    found["traced"] = statistics.median(traced) / statistics.median(untraced) - 1
    return found


if __name__ == "__main__":
    import sys

    print(json.dumps(_main(Path(sys.argv[1]), int(sys.argv[2]))))
