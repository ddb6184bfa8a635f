"""Measures one page in passes of two kinds: some are timed, one is traced.

They are separate because a profiler slows decode by half or more. All make the same call; the run
records whether they generated the same tokens.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path

from mfuscope.core import records
from mfuscope.core.endings import ending
from mfuscope.core.errors import UserError
from mfuscope.core.runs import RunKey
from mfuscope.measure.host import collector_off
from mfuscope.measure.one_pass import one_pass
from mfuscope.measure.profiler import WallClock, recording, trace_label
from mfuscope.measure.session import Session, read_page
from mfuscope.measure.settings import RunSettings as RunSettings
from mfuscope.measure.warmup import compiled, reference, warm_up
from mfuscope.models.context import check_context_limit
from mfuscope.models.inputs import PageInputs
from mfuscope.traces.file import check_written, holds_kernels
from mfuscope.traces.graphs import METADATA, to_metadata
from mfuscope.traces.losses import lost_events

_DISCARDED = 3  # timed passes of a run that compile something, at most
_TRACES = 2  # CUPTI sometimes records nothing in the first trace of a process


def measure(
    session: Session,
    path: Path,
    trace: Path,
    settings: RunSettings,
    *,
    key: RunKey,
    max_megapixels: float,
    call: str,
) -> records.Run:
    """Measure one run: warm-up unless done before, timed passes, traced pass.

    Args:
        path: the page.
        trace: file for the traced pass's Chrome trace, in plain JSON; compressing it later needs no
            device.
        max_megapixels: limit of the page's pixels, in millions.
        call: the id of the workflow's call.

    Raises:
        UserError: the page cannot be read, it does not fit the model's context or the device's
            memory, its passes make different numbers of tokens, or the trace is unusable.
    """
    page, facts = read_page(session, path, settings.resolution, max_megapixels)
    check_context_limit(
        page.prompt_tokens,
        settings.max_new_tokens,
        session.positions,
        session.description.name,
        page.resolution,
    )
    warmup_ms, compilation = warm_up(session, page, settings)
    measured_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    passes, tokens, discarded = _timed_passes(session, page, settings)
    # After the timed passes: without a warm-up it would be one for them.
    blank = reference(session, call, facts, settings)
    if compilation is not None:
        compilation = replace(compilation, discarded_passes=discarded)
    # The label identifies the trace in any viewer.
    label = {"model": session.description.name, "weights": session.description.weights}
    label |= {"variant": key.variant, "image": key.image, "repeat": str(key.repeat)}
    with collector_off():
        traced, same, absent = _traced_pass(session, page, settings, trace_label(label), trace)
    alike = len({one.token_ids_sha256 for one in passes}) == 1
    unseen = _unseen_ending(session, settings)
    runs_before, session.runs = session.runs, session.runs + 1
    return records.Run(
        protocol=records.PROTOCOL,
        variant=key.variant,
        image=key.image,
        repeat=key.repeat,
        measured_at=measured_at,
        page=facts,
        model=session.description,
        prompt_tokens=page.prompt_tokens,
        image_tokens=page.image_tokens,
        context_tokens=page.prompt_tokens + len(tokens),
        warmup_ms=warmup_ms,
        runs_before=runs_before,
        session=records.Session(
            call=call, process=session.process, host=session.host, reference=blank
        ),
        passes=passes,
        traced=traced,
        passes_agree=alike and same == tokens[: settings.traced_new_tokens],
        ending=None if unseen else ending(tokens, session.end_tokens),
        prompt=session.prompt(page),
        compilation=compilation,
        settings=asdict(session.settings) | asdict(settings),
        device=session.facts,
        versions=session.versions,
        commit=session.commit,
        absent=page.absent | absent | unseen | _absent(session),
    )


def _unseen_ending(session: Session, settings: RunSettings) -> dict[str, str]:
    """Why nothing is said of how the answer ended; empty where it is."""
    if session.description.weights == "dummy":
        return {"ending": "dummy weights write no text"}
    if settings.ignore_eos:
        return {"ending": "`ignore_eos: true`: every answer goes on to max_new_tokens"}
    if not session.end_tokens:
        return {"ending": "the model names no token that ends an answer"}
    return {}


def _absent(session: Session) -> dict[str, str]:
    absent = {} if session.commit else {"commit": session.no_commit}
    if session.compilation is None:
        absent["compilation"] = "nothing was to be compiled"
    elif session.compilation.unknown_graphs:
        absent["graph_operators"] = "; ".join(session.compilation.unknown_graphs)
    return absent


def _timed_passes(
    session: Session, page: PageInputs, settings: RunSettings
) -> tuple[list[records.Pass], list[int], int]:
    """Timed passes that compiled nothing, the new token ids of the first, and how many compiled.

    Raises:
        UserError: too many compiled something, or they made different numbers of tokens, whose
            times are of different work.
    """
    passes: list[records.Pass] = []
    tokens: list[int] = []
    discarded = 0
    while len(passes) < settings.timed_passes:
        before = compiled(session)
        timed, ids = one_pass(session, page, settings.generation, settings.max_new_tokens)
        if compiled(session) == before:
            passes.append(timed)
            tokens = tokens or ids
        else:
            discarded += 1
        if discarded == _DISCARDED:
            raise UserError(
                f"compile: {discarded} timed passes of a page at {page.resolution} compiled "
                "something, although its warm-up had ended: no time of them counts",
                "set `compile: none`; the log of the run has torch's messages",
            )
    lengths = [one.new_tokens for one in passes]
    if len(set(lengths)) > 1:
        raise UserError(
            f"its timed passes made {', '.join(map(str, lengths))} new tokens: they are different "
            "work, and no time stands for all of them",
            "set `ignore_eos: true`, so that every pass makes `max_new_tokens`",
        )
    return passes, tokens, discarded


def _traced_pass(
    session: Session, page: PageInputs, settings: RunSettings, label: str, path: Path
) -> tuple[records.Pass, list[int], dict[str, str]]:
    """A pass with a saved trace, its new token ids, and the reasons for what the trace lacks.

    A trace that lost kernels is made again; what the last saved one lacks is absent.

    Raises:
        UserError: the clock was set during every trace.
    """
    saved: tuple[records.Pass, list[int]] | None = None
    lost = ""
    for _ in range(_TRACES):
        clock = WallClock()
        with recording(settings.profiler, session.device) as profile:
            profile.add_metadata_json("mfuscope", label)
            if session.compilation is not None:
                profile.add_metadata_json(METADATA, to_metadata(session.compilation.graphs))
            traced, tokens = one_pass(
                session, page, settings.generation, settings.traced_new_tokens
            )
        if clock.was_set():
            continue
        profile.export_chrome_trace(str(path))
        check_written(path)
        lost = "" if session.device.type != "cuda" else _lost(path)
        if not lost:
            return traced, tokens, {}
        saved = traced, tokens
    if saved is None:
        raise UserError(
            f"the system's clock was set while each of {_TRACES} traces was recorded: no time in "
            "them is right",
            "run the same command again once the clock is steady",
        )
    again = f"({_TRACES} traces were made)"
    return *saved, dict.fromkeys(("kernels", "device_busy_ms"), f"{lost} {again}")


def _lost(path: Path) -> str:
    """What a plain trace of a GPU lost; empty if it is whole."""
    return lost_events(path) if holds_kernels(path) else "CUPTI recorded no kernel"
