"""Passes that measure no page: the warm-up, and the reference pass of a session."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from mfuscope.core import records
from mfuscope.core.errors import UserError
from mfuscope.measure.one_pass import stage_times
from mfuscope.measure.session import Session
from mfuscope.measure.settings import RunSettings
from mfuscope.models.inputs import PageInputs

_MORE = 5  # passes beyond those asked for, at most
_AGREE = 1.05  # page times of two passes in a row: the longer one ÷ the shorter one
_REFERENCE_TOKENS = 65  # of a reference pass at most, which are 64 steps


def warm_up(
    session: Session, page: PageInputs, settings: RunSettings
) -> tuple[list[float], records.Compilation | None]:
    """Run the warm-up passes, once per resolution and settings.

    They go on until two in a row take the same page time within 5 %, or `_MORE` passes longer than
    asked for. Where something is compiled, only passes since then count for that; where no warm-up
    is asked for, the first pass that compiles nothing is the last one.

    Returns:
        The page times of the passes that ran now in ms, and what the warm-up compiled; None if
        nothing is to be compiled.

    Raises:
        UserError: nothing is compiled, or passes go on compiling.
    """
    key = (page.resolution, settings)
    if key in session.warmed_up:
        return [], session.warmed_up[key]
    monitor, asked = session.compilation, settings.warmup
    # An early end of sequence would leave the decode step uncompiled.
    ignore_eos = settings.ignore_eos or monitor is not None
    generation = replace(settings.generation, ignore_eos=ignore_eos)
    marks = [] if monitor is None else [monitor.mark()]
    ms: list[float] = []
    settled: list[float] = []  # of the passes since something was compiled
    while len(ms) < asked or not _enough(settled, asked, compiling=monitor is not None):
        if monitor is not None and not settled and len(ms) >= asked + _MORE:
            raise UserError(
                f"compile: after {len(ms)} passes a page at {page.resolution} still compiles",
                "set `compile: none`; the log of the run has torch's messages",
            )
        before = compiled(session)
        times = stage_times(session, page, generation)
        ms.append(times.prefill_ms + times.decode_ms)
        settled = [*settled, ms[-1]] if compiled(session) == before else []
        if monitor is not None:
            marks.append(monitor.mark())
    summary = None
    if monitor is not None:
        if settings.max_new_tokens > 1 and not monitor.frames:
            raise UserError(
                f"compile: transformers compiled nothing of {session.description.name!r}",
                "set `compile: none`; the log of the run may have transformers' reason",
            )
        summary = monitor.summary(marks[: len(marks) - len(settled) + 1])
    session.warmed_up[key] = summary
    return ms, summary


def _enough(settled: Sequence[float], asked: int, *, compiling: bool) -> bool:
    """Whether a warm-up may end after passes of these page times, which compiled nothing."""
    if not asked:
        return bool(settled) or not compiling
    agree = len(settled) > 1 and max(settled[-2:]) <= _AGREE * min(settled[-2:])
    return agree or len(settled) >= asked + _MORE


def compiled(session: Session) -> int:
    """How much the session compiled so far."""
    return 0 if session.compilation is None else session.compilation.count


def reference(
    session: Session, call: str, page: records.Page, settings: RunSettings
) -> records.Reference:
    """The reference of a call at a page's resolution, measured where it is asked for first.

    Args:
        call: the id of the workflow's call.
    """
    key = (call, page.resolution, settings)
    if key not in session.references:
        times = stage_times(
            session,
            session.blank_inputs(page.resolution, (page.width, page.height)),
            replace(settings.generation, ignore_eos=True),
            min(settings.max_new_tokens, _REFERENCE_TOKENS),
        )
        session.references[key] = records.Reference(
            prefill_ms=times.prefill_ms, step_ms=median(times.step_ms) if times.step_ms else None
        )
    return session.references[key]
