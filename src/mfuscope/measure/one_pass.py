"""One pass: a ``generate`` call with its stages timed, its device and its host watched."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import torch

from mfuscope.core import records
from mfuscope.hardware import nvml
from mfuscope.hardware.memory import PeakMemory
from mfuscope.measure.host import HostWatch, collector_off
from mfuscope.measure.session import Generation, Session
from mfuscope.measure.stages import StageTimer, StageTimes
from mfuscope.models.inputs import PageInputs

_NO_PART = "prefill called no module that is known to be this part"


def stage_times(
    session: Session, page: PageInputs, generation: Generation, most_tokens: int | None = None
) -> StageTimes:
    """The times of a pass of which nothing else is asked: of a warm-up, of a reference."""
    with collector_off():
        times, _ = timed_call(session, page, generation, most_tokens)
    return times


def one_pass(
    session: Session, page: PageInputs, generation: Generation, most_tokens: int
) -> tuple[records.Pass, list[int]]:
    """A pass, without the garbage collector, and the new token ids of its page.

    Args:
        most_tokens: end after so many tokens.
    """
    uuid = session.facts.uuid
    watch = HostWatch(every_thread=session.device.type == "cpu", uuid=uuid)
    memory = PeakMemory(session.device)
    before = nvml.read_conditions(uuid)
    with collector_off():
        energy_before, reason = nvml.read_energy_mj(uuid)
        times, tokens = timed_call(
            session,
            page,
            generation,
            most_tokens,
            watching=watch.measure(),
            on_logits=watch.on_logits,
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
    for part in ("vision_ms", "projector_ms", "language_prefill_ms"):
        if getattr(times, part) is None:
            absent[part] = _NO_PART
    copies: list[list[int]] = tokens.tolist()
    one = records.Pass(
        **asdict(times),
        new_tokens=len(copies[0]),
        token_ids_sha256=_digest(copies),
        peak_memory_bytes=peak,
        energy_j=energy,
        conditions_before=before,
        conditions_after=after,
        host=watch.host(),
        absent=absent,
    )
    return one, copies[0]


def timed_call(
    session: Session,
    page: PageInputs,
    generation: Generation,
    most_tokens: int | None,
    *,
    watching: AbstractContextManager[None] | None = None,
    on_logits: Callable[[], None] = lambda: None,
) -> tuple[StageTimes, torch.Tensor]:
    """A call's times and its new token ids, shape (batch_size, new_tokens).

    Args:
        most_tokens: end after so many tokens; None for as many as `generation` asks for.
        watching: is entered around the call.
        on_logits: called after each forward, once its logits are marked.
    """
    timer = StageTimer(session.model, session.device, most_tokens or generation.max_new_tokens)

    def marked() -> None:
        timer.on_logits()
        on_logits()

    with watching or nullcontext(), timer.measure():
        tokens = session.generate(page, generation, most_tokens=most_tokens, on_logits=marked)
    return timer.times(tokens.shape[1]), tokens


def _digest(copies: list[list[int]]) -> str:
    """SHA-256 of the new token ids of a page, or of all copies of a batch where they differ."""
    texts = [",".join(map(str, ids)) for ids in copies]
    text = texts[0] if len(set(texts)) == 1 else ";".join(texts)
    return hashlib.sha256(text.encode()).hexdigest()
