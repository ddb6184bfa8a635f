"""The short pass that Nsight Compute counts, and that is traced to know whose its kernels are.

It is a prefill and one decode step of a page. The counted one is made in a process of its own
(`worker.counted`), since Nsight Compute and torch.profiler exclude each other.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import torch

from mfuscope.config.settings import ProfilerSettings
from mfuscope.core import counters as counted_records
from mfuscope.core import records
from mfuscope.core.errors import UserError
from mfuscope.flops.attribution import label_methods, label_modules, notified
from mfuscope.measure.counters import COUNTED_TOKENS, CountedJob
from mfuscope.measure.one_pass import timed_call
from mfuscope.measure.profiler import recording
from mfuscope.measure.session import Generation, Session, open_session, read_page
from mfuscope.models.inputs import PageInputs
from mfuscope.models.parts import find_parts
from mfuscope.traces.file import check_written
from mfuscope.traces.graphs import METADATA, to_metadata
from mfuscope.traces.sequence import COMPONENT

_TOKENS: Final = 2  # the first comes from prefill, the second from a decode step
_WARM_PASSES: Final = 8
_TRACED: Final = ProfilerSettings(None, False, False, False)


def count_pass(job: CountedJob) -> None:
    """Warm up, then make the pass between ``cudaProfilerStart`` and ``cudaProfilerStop``."""
    session = open_session(job.settings["model"], Path(job.bundled), traces=False)
    page, _ = _page(session, job)
    _warm_up(session, page, _generation(job))
    torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
    _one_pass(session, page, _generation(job))
    torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]


def trace_pass(session: Session, job: CountedJob, trace: Path) -> counted_records.CountedPass:
    """Trace the same pass, with a range around each component of the model.

    Args:
        trace: file for the Chrome trace, in plain JSON.

    Raises:
        UserError: the page cannot be read, or the trace is unusable.
    """
    page, facts = _page(session, job)
    generation = _generation(job)
    _warm_up(session, page, generation)
    with recording(_TRACED, session.device) as profile:
        if session.compilation is not None:
            graphs = to_metadata(session.compilation.graphs)
            profile.add_metadata_json(METADATA, graphs)
        with _component_ranges(session) as remove:
            # What is compiled must not see a hook.
            on_logits = remove if session.compilation is not None else lambda: None
            new_tokens = _one_pass(session, page, generation, on_logits)
    profile.export_chrome_trace(str(trace))
    check_written(trace)
    return counted_records.CountedPass(
        page=facts,
        model=session.description,
        prompt_tokens=page.prompt_tokens,
        decode_steps=new_tokens - 1,
        device=session.facts,
        versions=session.versions,
    )


def _generation(job: CountedJob) -> Generation:
    return Generation(**{field.name: job.settings[field.name] for field in fields(Generation)})


def _page(session: Session, job: CountedJob) -> tuple[PageInputs, records.Page]:
    return read_page(session, Path(job.page), job.settings["resolution"], job.max_megapixels)


def _warm_up(session: Session, page: PageInputs, generation: Generation) -> None:
    """Generate until a pass compiles nothing, at least twice."""
    monitor, count = session.compilation, -1
    for _ in range(_WARM_PASSES):
        session.generate(
            page, generation, most_tokens=min(COUNTED_TOKENS, generation.max_new_tokens)
        )
        before, count = count, 0 if monitor is None else monitor.count
        if count == before:
            return
    raise UserError(
        f"compile: after {_WARM_PASSES} passes a page at {page.resolution} still compiles",
        "set `compile: none`",
    )


def _one_pass(
    session: Session,
    page: PageInputs,
    generation: Generation,
    on_logits: Callable[[], None] = lambda: None,
) -> int:
    """Make the pass in its ranges; returns its new tokens."""
    tokens = min(_TOKENS, generation.max_new_tokens)
    _, made = timed_call(session, page, generation, tokens, on_logits=on_logits)
    return int(made.shape[1])


@contextmanager
def _component_ranges(session: Session) -> Iterator[Callable[[], None]]:
    """Ranges around the components of a model, until the yielded function or the end removes them.

    Only around what is not compiled: of a compiled vision encoder no component is known.
    """
    model, compiling = session.model, session.settings.compile
    vision = find_parts(model).get("vision", ()) if compiling == "all" else ()
    hidden = {inner for module in vision for inner in module.modules()}
    modules = [one for one in label_modules(model) if one[1] not in hidden]
    methods = [] if compiling == "all" else label_methods(model)
    opened: list[Any] = []

    def open_range(name: str) -> None:
        range_ = torch.profiler.record_function(f"{COMPONENT}{name}")
        range_.__enter__()  # type: ignore[no-untyped-call]
        opened.append(range_)

    def close_range() -> None:
        opened.pop().__exit__(None, None, None)

    with notified(modules, methods, open_range, close_range) as remove:
        yield remove
