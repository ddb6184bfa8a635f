"""What torch.compile does in this process: compilations, captured CUDA graphs, and their time.

Each capture of a graph is traced with its first replay, so that `traces.replays` can give the
kernels of later replays their operators.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch._dynamo.callback import CallbackArgs, CallbackTrigger, callback_handler
from torch._dynamo.utils import counters
from torch.utils._pytree import tree_map

from mfuscope.config.settings import ProfilerSettings
from mfuscope.core import records
from mfuscope.core.errors import UserError
from mfuscope.measure.profiler import recording
from mfuscope.models.parts import find_parts
from mfuscope.traces.graphs import CapturedGraph
from mfuscope.traces.replays import read_capture

# torch falls back to eager code, without an error, once a frame was compiled this often. Each
# resolution compiles the decode step anew.
_MOST_COMPILATIONS = 10_000


def compile_vision(model: nn.Module) -> None:
    """Have the vision encoder's forward compiled, into CUDA graphs on a GPU.

    Hooks on the encoder's module stay outside of the compiled code.

    Raises:
        UserError: it is not known which part of the model is the vision encoder.
    """
    vision = find_parts(model).get("vision", ())
    if not vision:
        raise UserError(
            f"compile: no part of {type(model).__name__} is known to be its vision encoder",
            "set `compile: decode`",
        )
    for module in vision:
        module.forward = _compiled(module.forward)


def _compiled(eager: Callable[..., Any]) -> Callable[..., Any]:
    compiled = torch.compile(eager, mode="reduce-overhead", dynamic=False)

    def forward(*inputs: Any, **named: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # The next replay overwrites what a graph has put out: prefill encodes several views.
        return tree_map(
            lambda out: out.clone() if isinstance(out, torch.Tensor) else out,
            compiled(*inputs, **named),
        )

    return forward


@dataclass(frozen=True, slots=True)
class _Work:
    """Something that torch.compile did."""

    trigger: CallbackTrigger
    seconds: float


class CompilationMonitor:
    """Observes torch.compile from its creation on, until another one is made."""

    _installed: ClassVar["CompilationMonitor | None"] = None

    def __init__(self, device: torch.device, *, traces: bool = True) -> None:
        """Begin to observe.

        Args:
            traces: whether captures of graphs are traced.
        """
        self._device = device
        self._traces = traces
        self._works: list[_Work] = []
        self._started = 0.0
        self._tracing: tuple[ExitStack, torch.profiler.profile] | None = None
        self._graphs: dict[CapturedGraph, None] = {}
        self.unknown_graphs: list[str] = []  # why the operators of a graph are not known
        torch._dynamo.config.recompile_limit = _MOST_COMPILATIONS
        torch._dynamo.config.accumulated_recompile_limit = _MOST_COMPILATIONS
        other = CompilationMonitor._installed
        # `torch._dynamo.reset()` removes all callbacks.
        if other is not None and other._start in callback_handler.start_callbacks:
            callback_handler.remove_start_callback(other._start)
            callback_handler.remove_end_callback(other._end)
        CompilationMonitor._installed = self
        callback_handler.register_start_callback(self._start)
        callback_handler.register_end_callback(self._end)

    @property
    def count(self) -> int:
        """How much was compiled or captured so far; it grows with every piece of work."""
        return len(self._works)

    @property
    def frames(self) -> int:
        """How many frames were compiled so far."""
        return sum(work.trigger is CallbackTrigger.DYNAMO for work in self._works)

    @property
    def graphs(self) -> list[CapturedGraph]:
        """The captured graphs whose operators are known."""
        return list(self._graphs)

    def summary(self, marks: Sequence["Mark"]) -> records.Compilation:
        """What a warm-up compiled.

        Args:
            marks: before the warm-up, and after each of its passes.
        """
        since, first = marks[:2]
        works = self._works[since.count :]
        frames = CallbackTrigger.DYNAMO
        graphs = [work for work in works if work.trigger is CallbackTrigger.CUDAGRAPH_RECORDING]
        again = [work for work in self._works[first.count :] if work.trigger is frames]
        breaks = _graph_breaks()
        new = {reason: n - since.breaks.get(reason, 0) for reason, n in breaks.items()}
        return records.Compilation(
            compile_s=sum(work.seconds for work in works),
            passes=len(marks) - 1,
            frames=len([work for work in works if work.trigger is frames]),
            recompilations=len(again),
            graphs=len(graphs),
            graph_breaks=[reason for reason, n in new.items() for _ in range(n)],
        )

    def mark(self) -> "Mark":
        """The present, for `summary`."""
        return Mark(self.count, _graph_breaks())

    def _start(self, work: CallbackArgs) -> None:
        self._started = time.perf_counter()
        # A profiler that is running already would be disturbed.
        if (
            self._traces
            and work.callback_trigger is CallbackTrigger.CUDAGRAPH_RECORDING
            and not torch.autograd.profiler._is_profiler_enabled
        ):
            stack = ExitStack()
            settings = ProfilerSettings(None, False, False, False)
            self._tracing = stack, stack.enter_context(recording(settings, self._device))

    def _end(self, work: CallbackArgs) -> None:
        if self._tracing is not None:
            stack, profile = self._tracing
            self._tracing = None
            torch.cuda.synchronize(self._device)  # the first replay has ended
            stack.close()
            self._keep(profile)
        seconds = time.perf_counter() - self._started
        self._works.append(_Work(work.callback_trigger, seconds))

    def _keep(self, profile: torch.profiler.profile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "capture.json"
            profile.export_chrome_trace(str(path))
            graph = read_capture(path)
        if isinstance(graph, str):
            self.unknown_graphs.append(graph)
        else:
            self._graphs[graph] = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment between compilations."""

    count: int
    breaks: dict[str, int]


def _graph_breaks() -> dict[str, int]:
    """Reasons for breaks of graphs in this process, and how often each one occurred."""
    return {" ".join(str(reason).split()): n for reason, n in counters["graph_break"].items()}
