"""Measures one page in two passes: one is timed, the other traced.

They are separate because a profiler slows decode by half or more. Both make the same call; the run
records whether they generated the same tokens.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfuscope.config.settings import ProfilerSettings
from mfuscope.core import records
from mfuscope.core.errors import UserError
from mfuscope.core.runs import RunKey
from mfuscope.hardware import nvml
from mfuscope.hardware.memory import PeakMemory
from mfuscope.measure.profiler import WallClock, recording, trace_label
from mfuscope.measure.session import Generation, Session
from mfuscope.measure.stages import StageTimer
from mfuscope.models.context import check_context_limit
from mfuscope.models.inputs import PageInputs
from mfuscope.pages.decoding import decode_page
from mfuscope.traces.file import check_written, holds_kernels
from mfuscope.traces.graphs import METADATA, to_metadata

if TYPE_CHECKING:
    from mfuscope.measure.compilation import CompilationMonitor


_MOST_WARMUP = 5  # passes beyond those asked for, until nothing is compiled any more
_TIMED = 3  # attempts at a pass that compiles nothing
_TRACES = 2  # CUPTI sometimes records nothing in the first trace of a process


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings of a run, beside those of its model."""

    resolution: str
    max_new_tokens: int
    ignore_eos: bool
    warmup: int
    profiler: ProfilerSettings
    cache: str = "dynamic"
    batch_size: int = 1
    no_repeat_ngram_size: int = 0

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "RunSettings":
        """Read a job's settings (`planning.parameters.run_parameters`)."""
        values = {field.name: settings[field.name] for field in fields(cls)}
        return cls(**values | {"profiler": ProfilerSettings(**settings["profiler"])})

    @property
    def generation(self) -> Generation:
        """How every pass generates."""
        return Generation(**{field.name: getattr(self, field.name) for field in fields(Generation)})

    @property
    def traced_new_tokens(self) -> int:
        """Most tokens of the traced pass: one from prefill, and one per traced step."""
        steps = self.profiler.decode_steps
        return self.max_new_tokens if steps is None else min(self.max_new_tokens, 1 + steps)


def warm_up(
    session: Session, page: PageInputs, settings: RunSettings
) -> tuple[int, records.Compilation | None]:
    """Run the warm-up passes, once per resolution and settings.

    Where something is compiled, the passes go on until one compiles nothing.

    Returns:
        How many passes ran now, and what the warm-up compiled; None if nothing is to be compiled.

    Raises:
        UserError: nothing is compiled, or passes go on compiling.
    """
    key = (page.resolution, settings)
    if key in session.warmed_up:
        return 0, session.warmed_up[key]
    if session.compilation is None:
        for _ in range(settings.warmup):
            session.generate(page, settings.generation)
        session.warmed_up[key] = None
        return settings.warmup, None
    compiled = _compile(session, session.compilation, page, settings)
    session.warmed_up[key] = compiled
    return compiled.passes, compiled


def _compile(
    session: Session, monitor: "CompilationMonitor", page: PageInputs, settings: RunSettings
) -> records.Compilation:
    """Run warm-up passes until one compiles nothing; see `warm_up`."""
    marks, passes = [monitor.mark()], 0
    while passes < max(settings.warmup, 1) or marks[-1].count != marks[-2].count:
        if passes >= settings.warmup + _MOST_WARMUP:
            raise UserError(
                f"compile: after {passes} passes a page at {page.resolution} still compiles",
                "set `compile: none`; the log of the run has torch's messages",
            )
        # An early end of sequence would leave the decode step uncompiled.
        session.generate(page, replace(settings.generation, ignore_eos=True))
        passes += 1
        marks.append(monitor.mark())
    if settings.max_new_tokens > 1 and not monitor.frames:
        raise UserError(
            f"compile: transformers compiled nothing of {session.description.name!r}",
            "set `compile: none`; the log of the run may have transformers' reason",
        )
    return monitor.summary(marks)


def measure(
    session: Session,
    path: Path,
    trace: Path,
    settings: RunSettings,
    *,
    key: RunKey,
    max_megapixels: float,
) -> records.Run:
    """Measure one run: warm-up unless done before, timed pass, traced pass.

    Args:
        path: the page.
        trace: file for the traced pass's Chrome trace, in plain JSON; compressing it later needs no
            device.
        max_megapixels: limit of the page's pixels, in millions.

    Raises:
        UserError: the page cannot be read, it does not fit the model's context or the device's
            memory, or the trace is unusable.
    """
    decoded = decode_page(path, max_megapixels)
    page = session.inputs(decoded.image, settings.resolution)
    check_context_limit(
        page.prompt_tokens,
        settings.max_new_tokens,
        session.positions,
        session.description.name,
        page.resolution,
    )
    warmup_passes, compilation = warm_up(session, page, settings)
    measured_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    timed, tokens, discarded = _timed_pass(session, page, settings)
    if compilation is not None:
        compilation = replace(compilation, discarded_passes=discarded)
    # The label identifies the trace in any viewer.
    label = {"model": session.description.name, "weights": session.description.weights}
    label |= {"variant": key.variant, "image": key.image, "repeat": str(key.repeat)}
    traced, same, absent = _traced_pass(session, page, settings, trace_label(label), trace)
    runs_before, session.runs = session.runs, session.runs + 1
    return records.Run(
        protocol=records.PROTOCOL,
        variant=key.variant,
        image=key.image,
        repeat=key.repeat,
        measured_at=measured_at,
        page=records.Page(
            path=str(path),
            sha256=decoded.facts.sha256,
            width=decoded.facts.width,
            height=decoded.facts.height,
            resolution=page.resolution,
        ),
        model=session.description,
        prompt_tokens=page.prompt_tokens,
        image_tokens=page.image_tokens,
        context_tokens=page.prompt_tokens + timed.new_tokens,
        warmup_passes=warmup_passes,
        runs_before=runs_before,
        timed=timed,
        traced=traced,
        passes_agree=same == tokens[: settings.traced_new_tokens],
        compilation=compilation,
        settings=asdict(session.settings) | asdict(settings),
        device=session.facts,
        versions=session.versions,
        commit=session.commit,
        absent=page.absent | absent | _absent(session),
    )


def _absent(session: Session) -> dict[str, str]:
    absent = {} if session.commit else {"commit": session.no_commit}
    if session.compilation is None:
        absent["compilation"] = "nothing was to be compiled"
    elif session.compilation.unknown_graphs:
        absent["graph_operators"] = "; ".join(session.compilation.unknown_graphs)
    return absent


def _timed_pass(
    session: Session, page: PageInputs, settings: RunSettings
) -> tuple[records.Pass, list[int], int]:
    """A timed pass that compiled nothing, its new token ids, and how many passes were discarded.

    Raises:
        UserError: every attempt compiled something.
    """
    for discarded in range(_TIMED):
        before = _compiled(session)
        timed, tokens = _pass(session, page, settings, settings.max_new_tokens)
        if _compiled(session) == before:
            return timed, tokens, discarded
    raise UserError(
        f"compile: each of {_TIMED} timed passes of a page at {page.resolution} compiled "
        "something, although its warm-up had ended: no time of them counts",
        "set `compile: none`; the log of the run has torch's messages",
    )


def _compiled(session: Session) -> int:
    """How much the session compiled so far."""
    return 0 if session.compilation is None else session.compilation.count


def _traced_pass(
    session: Session, page: PageInputs, settings: RunSettings, label: str, path: Path
) -> tuple[records.Pass, list[int], dict[str, str]]:
    """A pass with a saved trace, its new token ids, and the reasons for what the trace lacks."""
    for _ in range(_TRACES):
        clock = WallClock()
        with recording(settings.profiler, session.device) as profile:
            profile.add_metadata_json("mfuscope", label)
            if session.compilation is not None:
                profile.add_metadata_json(METADATA, to_metadata(session.compilation.graphs))
            traced, tokens = _pass(session, page, settings, settings.traced_new_tokens)
        if set_meanwhile := clock.was_set():
            continue
        profile.export_chrome_trace(str(path))
        check_written(path)
        if session.device.type != "cuda" or holds_kernels(path):
            return traced, tokens, {}
    if set_meanwhile:
        raise UserError(
            f"the system's clock was set while the last of {_TRACES} traces was recorded: no time "
            "in it is right",
            "run the same command again once the clock is steady",
        )
    return traced, tokens, {"kernels": f"CUPTI recorded none in {_TRACES} traces of this run"}


def _pass(
    session: Session, page: PageInputs, settings: RunSettings, max_new_tokens: int
) -> tuple[records.Pass, list[int]]:
    """A pass and the new token ids of its page."""
    uuid = session.facts.uuid
    timer = StageTimer(session.model, session.device, max_new_tokens)
    memory = PeakMemory(session.device)
    before = nvml.read_conditions(uuid)
    energy_before, reason = nvml.read_energy_mj(uuid)
    with timer.measure():
        tokens = session.generate(
            page, settings.generation, most_tokens=max_new_tokens, on_logits=timer.on_logits
        )
    energy_after, reason_after = nvml.read_energy_mj(uuid)
    after = nvml.read_conditions(uuid)
    peak, memory_reason = memory.read()
    absent = {}
    energy = None
    if energy_before is None or energy_after is None:
        absent["energy_j"] = reason or f"during the pass: {reason_after}"
    elif energy_after <= energy_before:
        moved = "did not move" if energy_after == energy_before else "started anew"
        absent["energy_j"] = f"the counter {moved} during the pass"
    else:
        energy = (energy_after - energy_before) / 1000
    if peak is None:
        absent["peak_memory_bytes"] = memory_reason
    copies: list[list[int]] = tokens.tolist()
    ids = copies[0]
    times = timer.times(len(ids))
    for part in ("vision_ms", "projector_ms", "language_prefill_ms"):
        if getattr(times, part) is None:
            absent[part] = "no part of a known name ran in prefill"
    one = records.Pass(
        **asdict(times),
        new_tokens=len(ids),
        token_ids_sha256=_digest(copies),
        peak_memory_bytes=peak,
        energy_j=energy,
        conditions_before=before,
        conditions_after=after,
        absent=absent,
    )
    return one, ids


def _digest(copies: list[list[int]]) -> str:
    """SHA-256 of the new token ids of a page, or of all copies of a batch where they differ."""
    texts = [",".join(map(str, ids)) for ids in copies]
    text = texts[0] if len(set(texts)) == 1 else ";".join(texts)
    return hashlib.sha256(text.encode()).hexdigest()
