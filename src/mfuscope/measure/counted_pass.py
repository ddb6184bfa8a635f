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
from mfuscope.flops.attribution import label_methods, label_modules
from mfuscope.measure.counters import COUNTED_TOKENS, CountedJob
from mfuscope.measure.profiler import recording
from mfuscope.measure.session import Generation, Session, open_session
from mfuscope.measure.stages import StageTimer
from mfuscope.models.inputs import PageInputs
from mfuscope.models.parts import find_parts
from mfuscope.pages.decoding import PageFacts, decode_page
from mfuscope.traces.file import check_written
from mfuscope.traces.graphs import METADATA, to_metadata
from mfuscope.traces.sequence import COMPONENT

_TOKENS: Final = 2  # the first comes from prefill, the second from a decode step
_WARM_PASSES: Final = 8
_TRACED: Final = ProfilerSettings(None, False, False, False)


def count_pass(job: CountedJob) -> None:
    """Warm up, then make the pass between ``cudaProfilerStart`` and ``cudaProfilerStop``."""
    session = open_session(job.settings["model"], Path(job.bundled), traces=False)
    page, _ = _inputs(session, job)
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
    page, facts = _inputs(session, job)
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
        page=records.Page(
            path=job.page,
            sha256=facts.sha256,
            width=facts.width,
            height=facts.height,
            resolution=page.resolution,
        ),
        model=session.description,
        prompt_tokens=page.prompt_tokens,
        decode_steps=new_tokens - 1,
        device=session.facts,
        versions=session.versions,
    )


def _generation(job: CountedJob) -> Generation:
    return Generation(**{field.name: job.settings[field.name] for field in fields(Generation)})


def _inputs(session: Session, job: CountedJob) -> tuple[PageInputs, PageFacts]:
    decoded = decode_page(Path(job.page), job.max_megapixels)
    return session.inputs(decoded.image, job.settings["resolution"]), decoded.facts


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
    timer = StageTimer(session.model, session.device, tokens)

    def marked() -> None:
        timer.on_logits()
        on_logits()

    with timer.measure():
        made = session.generate(page, generation, most_tokens=tokens, on_logits=marked)
    return int(made.shape[1])


@contextmanager
def _component_ranges(session: Session) -> Iterator[Callable[[], None]]:
    """Ranges around the components of a model, until the yielded function or the end removes them.

    Only around what is not compiled: of a compiled vision encoder no component is known.
    """
    model, compiling = session.model, session.settings.compile
    hidden = set()
    if compiling == "all" and (vision := find_parts(model).get("vision")) is not None:
        hidden = set(vision.modules())
    handles = []
    opened: list[Any] = []

    def open_range(name: str) -> None:
        range_ = torch.profiler.record_function(f"{COMPONENT}{name}")
        range_.__enter__()  # type: ignore[no-untyped-call]
        opened.append(range_)

    def close_range() -> None:
        opened.pop().__exit__(None, None, None)

    for label, module in label_modules(model):
        if module in hidden:
            continue

        def enter(*_: object, label: str = label) -> None:
            open_range(label)

        def leave(*_: object) -> None:
            close_range()

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    methods = [] if compiling == "all" else label_methods(model)
    for label, module, name in methods:
        setattr(module, name, _within(open_range, close_range, label, getattr(module, name)))

    def remove() -> None:
        while handles:
            handles.pop().remove()

    try:
        yield remove
    finally:
        remove()
        for _, module, name in methods:
            delattr(module, name)  # uncovers the class's method


def _within(
    open_range: Callable[[str], None],
    close_range: Callable[[], None],
    label: str,
    method: Callable[..., Any],
) -> Callable[..., Any]:
    def within(*args: Any, **kwargs: Any) -> Any:
        open_range(label)
        try:
            return method(*args, **kwargs)
        finally:
            close_range()

    return within
