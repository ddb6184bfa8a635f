"""Calibration: the FLOPs of one resolution, counted once and used for every page of it."""

import itertools
from typing import Any

from mfuscope import records
from mfuscope.flops.counting import FlopCounter
from mfuscope.profiling import Session
from mfuscope.stages import find_parts

_STEPS = 2  # two contexts fix the straight line that a step's FLOPs follow


def calibrate(session: Session, resolution: str, *, variant: str) -> records.Calibration:
    """Count one real forward of an empty page of a resolution, and two decode steps after it.

    FLOPs follow from shapes alone, so that no page of the user's is needed, and editing one
    calibrates nothing again.
    """
    page = session.blank_inputs(resolution)
    counter = FlopCounter()
    parts = {
        {"language_prefill": "language_model"}.get(name, name): module
        for name, module in find_parts(session.model).items()
    }
    parts["lm_head"] = session.model.get_output_embeddings()
    snapshots: list[dict[str, int]] = []

    def after_forward(*_: Any) -> None:
        snapshots.append(dict(counter.counts))

    handle = session.model.register_forward_hook(after_forward)
    try:
        with counter.attribute(parts), counter:
            session.generate(page, 1 + _STEPS, ignore_eos=True)
    finally:
        handle.remove()
    prefill = snapshots[0]
    steps = []
    for number, (before, after) in enumerate(itertools.pairwise(snapshots)):
        components = {
            name: after[name] - before.get(name, 0)
            for name in after
            if after[name] != before.get(name, 0)
        }
        steps.append(
            records.StepFlops(
                context_tokens=page.prompt_tokens + 1 + number,
                components=components,
                total=sum(components.values()),
            )
        )
    return records.Calibration(
        variant=variant,
        resolution=resolution,
        model=session.description,
        prompt_tokens=page.prompt_tokens,
        image_tokens=page.image_tokens,
        prefill_flops={name: {"counted": flops} for name, flops in prefill.items()},
        prefill_total={"counted": sum(prefill.values())},
        decode_steps=steps[:_STEPS],
        uncounted_operators=sorted(counter.uncounted),
        versions=session.versions,
        absent={
            "architecture": "no closed form in this version",
            "directional": "not computed in this version",
        }
        | page.absent,
    )
