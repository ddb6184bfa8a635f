"""Times the stages of one ``generate`` call by module hooks: prefill, its parts, and decode.

Boundaries (docs/measurement.md has the reasons):

- *prefill* starts when ``generate`` is called with its inputs on the device, and ends with the
  first logits, at the end of the model's first forward. The vision encoder runs inside
  ``generate`` but before that forward, so that a hook on the model alone would miss it.
- *decode* starts at the first logits and ends when ``generate`` has its last new token. If a device
  runs one forward more than it returns tokens, decode ends before that forward.
- ``decode_step[i]`` runs from the start of one forward to the start of the next (or to the end of
  decode). It contains the forward, the choice of its token, and the bookkeeping. Choosing the first
  token belongs to decode but to no step.

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
from mfuscope.models.parts import find_parts


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Times of one ``generate`` call in milliseconds.

    Attributes:
        prefill_ms: from the call to the first logits.
        decode_ms: from the first logits to the last new token.
        step_ms: times of the decode steps, one for each new token after the first.
        vision_ms: all calls of the vision encoder in prefill; None if no such part ran.
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


class StageTimer:
    """Hooks on a model that mark the boundaries of one ``generate`` call.

    Use `measure` around exactly one call, then `times`.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model = model
        self._clock = device_clock(device)
        self._ranges = Ranges(device)
        self._parts = find_parts(model)
        self._spans: dict[str, list[list[Any]]] = {part: [] for part in self._parts}
        self._forward_starts: list[Any] = []
        self._first_logits: Any = None
        self._start: Any = None
        self._end: Any = None
        self._host_ms = 0.0

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Mark the boundaries in the body; the device is idle at the start and at the end."""
        self._clock.synchronise()
        handles = self._install()
        host_start = time.perf_counter_ns()
        self._start = self._clock.mark()
        self._ranges.push("prefill")
        try:
            yield
            self._end = self._clock.mark()
        finally:
            self._ranges.close()
            for handle in handles:
                handle.remove()
        self._clock.synchronise()
        self._host_ms = (time.perf_counter_ns() - host_start) / 1e6

    def times(self, new_tokens: int) -> StageTimes:
        """The call's times.

        Args:
            new_tokens: how many tokens the call returned beyond the prompt, at least 1.

        Raises:
            RuntimeError: the model ran fewer forwards than it returned tokens (speculative decoding
                and the like), so that its steps cannot be distinguished.
        """
        forwards = len(self._forward_starts)
        if forwards < new_tokens:
            raise RuntimeError(f"{forwards} forwards made {new_tokens} tokens")
        elapsed = self._clock.elapsed_ms
        end = self._forward_starts[new_tokens] if forwards > new_tokens else self._end
        steps = [*self._forward_starts[1:new_tokens], end]
        return StageTimes(
            prefill_ms=elapsed(self._start, self._first_logits),
            decode_ms=elapsed(self._first_logits, end),
            step_ms=[elapsed(a, b) for a, b in itertools.pairwise(steps)],
            vision_ms=self._part_ms("vision"),
            projector_ms=self._part_ms("projector"),
            language_prefill_ms=self._part_ms("language_prefill"),
            host_ms=self._host_ms,
            forwards=forwards,
        )

    def _part_ms(self, part: str) -> float | None:
        if not self._spans.get(part):
            return None
        return sum(self._clock.elapsed_ms(start, end) for start, end in self._spans[part])

    def _install(self) -> list[RemovableHandle]:
        handles = [
            self._model.register_forward_pre_hook(self._before_forward),
            self._model.register_forward_hook(self._after_forward),
        ]
        for part, module in self._parts.items():
            before, after = self._part_hooks(part)
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after))
        return handles

    def _before_forward(self, *_: object) -> None:
        self._forward_starts.append(self._clock.mark())
        step = len(self._forward_starts) - 2
        if step > 0:
            self._ranges.pop()
        if step >= 0:
            self._ranges.push(f"decode_step[{step}]")

    def _after_forward(self, *_: object) -> None:
        if self._first_logits is None:
            self._first_logits = self._clock.mark()
            self._ranges.pop()
            self._ranges.push("decode")

    def _part_hooks(self, part: str) -> tuple[Callable[..., None], Callable[..., None]]:
        spans = self._spans[part]

        def before(*_: object) -> None:
            if self._first_logits is None:
                self._ranges.push(part)
                spans.append([self._clock.mark()])

        def after(*_: object) -> None:
            if self._first_logits is None:
                spans[-1].append(self._clock.mark())
                self._ranges.pop()

        return before, after
