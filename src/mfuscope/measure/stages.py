"""Times the stages of one ``generate`` call from outside of the model: prefill, its parts, decode.

``generate`` calls a logits processor after every forward, with that forward's logits. `StageTimer`
marks the time there, so that nothing has to be hooked to code that may be compiled, and eager and
compiled calls are measured in the same way (docs/measurement.md):

- *prefill* starts when ``generate`` is called with its inputs on the device, and ends with the
  first logits. The vision encoder runs inside ``generate`` but before the first forward, so that a
  hook on the model alone would miss it.
- ``decode_step[i]`` runs from the logits of forward i to those of forward i + 1: it chooses token
  i, keeps the books, and computes the next logits.
- *decode* is all steps: from the first logits to those of the last new token. A run of n tokens has
  n - 1 steps; their sum is decode. If a device runs more forwards than it returns tokens, the
  surplus is left out.

Vision encoder, projector and language model are timed in prefill by hooks around their modules
(`models.parts`). A part has the time of its modules without that of parts within them, so that no
time counts twice. The hooks are gone before the first decode step, the only forward that is
compiled whole; within a compiled vision encoder there are none.

On a GPU every boundary is an event on the stream; the events are read after one synchronisation at
the end. The same boundaries open and close NVTX and ``record_function`` ranges.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from mfuscope.hardware.clocks import device_clock
from mfuscope.models.parts import hookable_parts


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Times of one ``generate`` call in milliseconds.

    Attributes:
        prefill_ms: from the call to the first logits.
        decode_ms: from the first logits to those of the last new token: the sum of the steps.
        step_ms: times of the decode steps, one for each new token after the first.
        vision_ms: all calls of the vision encoder in prefill, without the parts within it; None if
            no such part ran.
        projector_ms: the same for the projector.
        language_prefill_ms: the same for the language model.
        host_ms: the whole call on the host's clock, with the final synchronisation.
        forwards: number of the model's forwards.
    """

    prefill_ms: float
    decode_ms: float
    step_ms: list[float]
    vision_ms: float | None
    projector_ms: float | None
    language_prefill_ms: float | None
    host_ms: float
    forwards: int


class Ranges:
    """Named, nested ranges for profilers: NVTX on GPUs, and ``record_function``.

    torch.profiler's traces lack NVTX ranges, and Nsight lacks ``record_function`` ranges.
    ``record_function`` ranges are opened only while torch.profiler records.
    """

    def __init__(self, device: torch.device) -> None:
        self._nvtx = device.type == "cuda"
        self._open: list[Any] = []

    def push(self, name: str) -> None:
        """Open a range within the innermost open range."""
        if self._nvtx:
            torch.cuda.nvtx.range_push(name)  # type: ignore[no-untyped-call]
        # Entering a range costs 2 % of a small model's step, even if no profiler records.
        recorded = torch.autograd.profiler._is_profiler_enabled
        range_ = torch.profiler.record_function(name) if recorded else nullcontext()
        range_.__enter__()
        self._open.append(range_)

    def pop(self) -> None:
        """Close the innermost range."""
        self._open.pop().__exit__(None, None, None)
        if self._nvtx:
            torch.cuda.nvtx.range_pop()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close all open ranges, after an error."""
        while self._open:
            self.pop()


@dataclass(slots=True)
class _Span:
    """A call of a part's module: marks of its start and end, and the span that it lies in."""

    part: str
    start: Any
    within: "_Span | None"
    end: Any = None


class StageTimer:
    """Marks the boundaries of one ``generate`` call.

    Use `measure` around exactly one call that calls `on_logits` after each forward, then `times`.
    """

    def __init__(self, model: nn.Module, device: torch.device, most_tokens: int) -> None:
        """Prepare for a call that returns `most_tokens` new tokens at most."""
        self._clock = device_clock(device)
        self._ranges = Ranges(device)
        self._parts = hookable_parts(model)
        self._spans: list[_Span] = []
        self._open: list[_Span] = []
        self._hooks: list[RemovableHandle] = []
        self._most_tokens = most_tokens
        self._logits: list[Any] = []
        self._start: Any = None
        self._host_ms = 0.0

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Mark the boundaries in the body; the device is idle at the start and at the end."""
        self._clock.synchronise()
        for part, modules in self._parts.items():
            before, after = self._part_hooks(part)
            for module in modules:
                self._hooks.append(module.register_forward_pre_hook(before))
                self._hooks.append(module.register_forward_hook(after))
        host_start = time.perf_counter_ns()
        self._start = self._clock.mark()
        self._ranges.push("prefill")
        try:
            yield
        finally:
            self._ranges.close()
            self._remove_hooks()
        self._clock.synchronise()
        self._host_ms = (time.perf_counter_ns() - host_start) / 1e6

    def on_logits(self) -> None:
        """Mark that a forward has computed its logits; the model's next work is the next step."""
        number = len(self._logits)
        self._logits.append(self._clock.mark())
        if number >= self._most_tokens:
            return  # a surplus forward, after the last token: outside of all ranges
        self._ranges.pop()  # prefill, or a step
        if number == 0:
            self._remove_hooks()
            if self._most_tokens > 1:
                self._ranges.push("decode")
        if number + 1 < self._most_tokens:
            self._ranges.push(f"decode_step[{number}]")
        elif number:
            self._ranges.pop()  # decode

    def times(self, new_tokens: int) -> StageTimes:
        """The call's times.

        Args:
            new_tokens: how many tokens the call returned beyond the prompt, at least 1.

        Raises:
            RuntimeError: the model ran fewer forwards than it returned tokens (speculative decoding
                and the like), so that its steps cannot be distinguished.
        """
        forwards = len(self._logits)
        if forwards < new_tokens:
            raise RuntimeError(f"{forwards} forwards made {new_tokens} tokens")
        elapsed = self._clock.elapsed_ms
        logits = self._logits[:new_tokens]
        return StageTimes(
            prefill_ms=elapsed(self._start, logits[0]),
            decode_ms=elapsed(logits[0], logits[-1]),
            step_ms=[elapsed(a, b) for a, b in itertools.pairwise(logits)],
            vision_ms=self._part_ms("vision"),
            projector_ms=self._part_ms("projector"),
            language_prefill_ms=self._part_ms("language_prefill"),
            host_ms=self._host_ms,
            forwards=forwards,
        )

    def _part_ms(self, part: str) -> float | None:
        own = [self._elapsed_ms(span) for span in self._spans if span.part == part]
        inner = [
            self._elapsed_ms(span)
            for span in self._spans
            if span.within is not None and span.within.part == part
        ]
        return sum(own) - sum(inner) if own else None

    def _elapsed_ms(self, span: _Span) -> float:
        return self._clock.elapsed_ms(span.start, span.end)

    def _remove_hooks(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def _part_hooks(self, part: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(*_: object) -> None:
            self._ranges.push(part)
            within = self._open[-1] if self._open else None
            self._open.append(_Span(part, self._clock.mark(), within))

        def after(*_: object) -> None:
            span = self._open.pop()
            span.end = self._clock.mark()
            self._spans.append(span)
            self._ranges.pop()

        return before, after
