"""What stage timing costs: calls and decode steps with and without the hooks, in one process.

Neighbours on the machine change times by more than the hooks do, from one second to the next. So
what is compared lies side by side: calls for one token for prefill, for decode the steps of one
and the same call.

Also whether having traced once slows the passes that are timed later, as both happen in the
process that keeps the model.
"""

import json
import math
import statistics
import time
from collections.abc import Iterator
from functools import partial
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from common import Figure, Options, bundled_pages, child, default_session

if TYPE_CHECKING:
    import torch

    from mfuscope.measure.session import Session
    from mfuscope.measure.stages import StageTimer
    from mfuscope.models.inputs import PageInputs

TOKENS = 64  # of a whole call
CALLS = 10  # whole calls before and after a trace
STEPS = 200  # of a call that alternates
# With hooks or without. What ran before changes a time by more than the hooks do: this cancels it.
IN_TURN = (False, True, True, False)


def measure(options: Options) -> Iterator[Figure]:
    """Relative cost for prefill and decode with 95 % intervals, and of an earlier trace."""
    found = json.loads(child([__file__, str(bundled_pages(1)[0]), str(options.pairs)]))
    yield Figure("groups of four calls; four times as many of steps", options.pairs, "")
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
    from mfuscope.measure.stages import StageTimer

    timer, steps = StageTimer(session.model, session.device), 1000
    with timer.measure():
        timer._after_forward()
        started = time.perf_counter()
        for _ in range(steps):
            timer._before_forward()
            timer._after_forward()
        return (time.perf_counter() - started) / steps * 1e6


def _prefill(session: "Session", page: "PageInputs", groups: int) -> list[float]:
    """Calls for one token, bare and instrumented."""
    from mfuscope.hardware.clocks import device_clock
    from mfuscope.measure.stages import StageTimer

    clock = device_clock(session.device)

    def bare() -> float:
        clock.synchronise()
        started = time.perf_counter()
        session.generate(page, 1, ignore_eos=True)
        clock.synchronise()
        return time.perf_counter() - started

    def instrumented() -> float:
        timer = StageTimer(session.model, session.device)
        with timer.measure():
            session.generate(page, 1, ignore_eos=True)
        return timer.times(1).host_ms / 1e3

    return [instrumented() if on else bare() for on in IN_TURN * groups]


class _Alternating:
    """A logits processor that puts the hooks on and off between the steps of one call.

    A step lasts from the end of this to its next start, on the host's clock.
    """

    def __init__(self, timer: "StageTimer") -> None:
        self._timer = timer
        self._handles: list[Any] = []
        self._started: float | None = None
        self.steps: list[float] = []

    def __call__(self, _ids: object, scores: "torch.Tensor") -> "torch.Tensor":
        if self._started is not None:
            self.steps.append(time.perf_counter() - self._started)
        while self._handles:
            self._handles.pop().remove()
        if IN_TURN[len(self.steps) % len(IN_TURN)]:
            self._handles = self._timer._install()
        self._started = time.perf_counter()
        return scores


def _decode(session: "Session", page: "PageInputs", groups: int) -> list[float]:
    """Steps, bare and instrumented, of as many calls as it takes."""
    from transformers import LogitsProcessorList

    from mfuscope.measure.stages import StageTimer

    seconds: list[float] = []
    while len(seconds) < groups * len(IN_TURN):
        timer = StageTimer(session.model, session.device)
        timer._ranges.push("prefill")  # what the first hook closes
        alternating = _Alternating(timer)
        generate = partial(
            session.model.generate, logits_processor=LogitsProcessorList([alternating])
        )
        with mock.patch.object(session.model, "generate", generate):
            session.generate(page, STEPS + 1, ignore_eos=True)
        seconds += alternating.steps
    return seconds[: groups * len(IN_TURN)]


def _longer(seconds: list[float]) -> list[float]:
    """How much longer with hooks, as a share of without: one value for each group."""
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
        session.generate(page, TOKENS, ignore_eos=True).tolist()
        return time.perf_counter() - started

    for _ in range(3):
        whole_call()
    untraced = [whole_call() for _ in range(CALLS)]
    found: dict[str, Any] = {"hooks_us": _hooks_us(session)}
    found["prefill"] = _interval(_longer(_prefill(session, page, groups)))
    steps = _decode(session, page, 4 * groups)
    found["decode"] = _interval(_longer(steps))
    found["step_us"] = statistics.median(steps) * 1e6
    with recording(ProfilerSettings(None, False, False, False), session.device):
        whole_call()
    whole_call()
    traced = [whole_call() for _ in range(CALLS)]
    found["traced"] = statistics.median(traced) / statistics.median(untraced) - 1
    return found


if __name__ == "__main__":
    import sys

    print(json.dumps(_main(Path(sys.argv[1]), int(sys.argv[2]))))
