"""Calibration: FLOPs and bytes of one resolution, counted once for all of its pages."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from mfuscope.core import records
from mfuscope.core.cache import CacheLayers, held_bytes, read_bytes
from mfuscope.core.language import TextWidths
from mfuscope.core.runs import CalibrationKey
from mfuscope.flops import architecture, directional
from mfuscope.flops.attribution import label_methods, label_modules
from mfuscope.flops.cache import (
    Decoder,
    Held,
    UnknownCacheError,
    describe_cache,
    watched_cache,
)
from mfuscope.flops.counting import FlopCounter
from mfuscope.flops.dims import Architecture, read_dims, read_text_widths, read_vision_widths
from mfuscope.flops.traffic import stage_weight_bytes
from mfuscope.measure.session import Generation, Session
from mfuscope.measure.stages import Ranges
from mfuscope.models.geometry import parse_resolution
from mfuscope.models.inputs import PageInputs
from mfuscope.models.parts import find_decoder

_STEPS = 2  # a step's FLOPs are linear in the context: two contexts suffice

# Operators with a FLOP formula in torch.profiler, without elementwise ones.
_MATMUL_LIKE = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::conv2d")


@dataclass(frozen=True, slots=True)
class _Counted:
    """Counts so far, or of one forward: FLOPs by component; FLOPs and calls by operator."""

    components: Mapping[str, int] = field(default_factory=dict)
    flops: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def so_far(cls, counter: FlopCounter) -> "_Counted":
        return cls(dict(counter.counts), dict(counter.operators), dict(counter.calls))

    def since(self, before: "_Counted") -> "_Counted":
        """What came after another one."""
        return _Counted(
            _more(self.components, before.components),
            _more(self.flops, before.flops),
            _more(self.calls, before.calls),
        )

    @property
    def operators(self) -> dict[str, records.OperatorFlops]:
        """Of each operator that was called."""
        return {
            name: records.OperatorFlops(calls=calls, flops=self.flops.get(name, 0))
            for name, calls in self.calls.items()
        }


def _more(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if value != before.get(name, 0)
    }


@dataclass(frozen=True, slots=True)
class _Formulas:
    """The closed forms of one model at one resolution."""

    dims: Architecture | None
    text: TextWidths | None
    prefill: dict[str, Mapping[str, int | float] | None]


def calibrate(
    session: Session, key: CalibrationKey, size: tuple[int, int] | None = None
) -> records.Calibration:
    """Count the FLOPs of prefill and of two decode steps, for an empty page of the resolution.

    The bytes of the KV cache, and how later steps' FLOPs grow, are told by the cache itself.

    FLOPs depend on shapes alone: no page of the user is read, and an edited page needs no new
    calibration.

    Args:
        size: see `InputMaker.blank`.
    """
    page = session.blank_inputs(key.resolution, size)
    forwards, uncounted, moments = _count(session, page)
    growth = sum(forwards[2].flops.values()) - sum(forwards[1].flops.values())
    cache: list[CacheLayers] | None = None
    no_cache = ""
    try:
        decoder = Decoder.of(session.model.config)
        cache = describe_cache(moments, page.prompt_tokens, growth, decoder)
    except UnknownCacheError as error:
        no_cache = str(error)
    formulas = _formulas(session, key.resolution, page.prompt_tokens)
    prefill = _table({"counted": forwards[0].components, **formulas.prefill})
    steps = [
        _step(
            session, formulas, page.prompt_tokens, page.prompt_tokens + 1 + number, counted, cache
        )
        for number, counted in enumerate(forwards[1 : 1 + _STEPS])
    ]
    weights = stage_weight_bytes(session.model, page.prompt_tokens, prefill=True)
    return records.Calibration(
        variant=key.variant,
        resolution=key.resolution,
        model=session.description,
        prompt_tokens=page.prompt_tokens,
        image_tokens=page.image_tokens,
        prefill_flops=prefill,
        prefill_total=_totals(prefill),
        prefill_operators=forwards[0].operators,
        prefill_weight_bytes=sum(weights.values()) if weights else None,
        prefill_kv_bytes=None if cache is None else held_bytes(cache, page.prompt_tokens),
        profiler_matmul_flops=_profiler_matmul_flops(session, page),
        decode_steps=steps,
        cache=cache,
        uncounted_operators=uncounted,
        versions=session.versions,
        absent=_absent(prefill, steps[0], weights is None, no_cache) | page.absent,
    )


def _count(
    session: Session, page: PageInputs
) -> tuple[list[_Counted], list[str], list[list[Held]]]:
    """The counts of each forward, the uncounted operators, and what the cache held after each."""
    counter = FlopCounter()
    snapshots = [_Counted()]
    moments: list[list[Held]] = []
    model = session.model
    # Compiled regions of the model or of a package dispatch nothing.
    eager = torch.compiler.set_stance("force_eager")
    attributed = counter.attribute(label_modules(model), label_methods(model))
    with watched_cache(find_decoder(model)) as held_now, eager, attributed, counter:

        def note() -> None:
            snapshots.append(_Counted.so_far(counter))
            moments.append(held_now())

        session.generate(page, Generation(1 + _STEPS, ignore_eos=True), on_logits=note)
    forwards = [after.since(before) for before, after in itertools.pairwise(snapshots)]
    return forwards, sorted(counter.uncounted), moments


def _formulas(session: Session, resolution: str, prompt_tokens: int) -> _Formulas:
    config = session.model.config
    dims, text = read_dims(config), read_text_widths(config)
    prefill: dict[str, Mapping[str, int | float] | None] = {}
    if dims is not None:
        geometry = parse_resolution(resolution)
        prefill["architecture"] = architecture.prefill_flops(dims, geometry, prompt_tokens)
        prefill["directional"] = directional.prefill_flops(dims, geometry, prompt_tokens)
        text = dims.language.widths
    elif text is not None:
        prefill["directional"] = directional.generic_prefill_flops(
            read_vision_widths(config), text, prompt_tokens
        )
    return _Formulas(dims, text, prefill)


def _step(
    session: Session,
    formulas: _Formulas,
    prompt_tokens: int,
    context_tokens: int,
    counted: _Counted,
    cache: list[CacheLayers] | None,
) -> records.DecodeStep:
    by_model: dict[str, Mapping[str, int | float] | None] = {"counted": counted.components}
    language = formulas.dims.language if formulas.dims else None
    if language is not None:
        by_model["architecture"] = architecture.decode_flops(
            language, context_tokens, prompt_tokens
        )
    if formulas.text is not None:
        rough = directional.decode_flops(formulas.text)
        by_model["directional"] = rough if language else {"language_model": sum(rough.values())}
    flops = _table(by_model)
    weights = stage_weight_bytes(session.model, 1, prefill=False)
    return records.DecodeStep(
        context_tokens=context_tokens,
        flops=flops,
        total=_totals(flops),
        operators=counted.operators,
        weight_bytes=sum(weights.values()) if weights else None,
        kv_bytes=None
        if cache is None
        else read_bytes(cache, range(context_tokens, context_tokens + 1)),
    )


def _table(by_model: Mapping[str, Mapping[str, int | float] | None]) -> records.FlopTable:
    """Component -> FLOP model -> FLOPs, components in order of first occurrence."""
    table: records.FlopTable = {}
    for model, flops in by_model.items():
        for component, value in (flops or {}).items():
            if value:
                table.setdefault(component, {})[model] = value
    return table


def _totals(table: records.FlopTable) -> dict[str, int | float]:
    totals: dict[str, int | float] = {}
    for by_model in table.values():
        for model, value in by_model.items():
            totals[model] = totals.get(model, 0) + value
    return totals


def _profiler_matmul_flops(session: Session, page: PageInputs) -> int:
    """torch.profiler's own sum over the matmul-like operators of a prefill, for comparison.

    It is a lower bound, as it counts neither grouped products nor fused attention.
    """
    ranges = Ranges(session.device)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], with_flops=True, record_shapes=True
    ) as recording:
        ranges.push("prefill")
        session.generate(page, Generation(1, ignore_eos=True))
        ranges.pop()
    events = recording.events() or []
    return int(sum(event.flops or 0 for event in events if event.name in _MATMUL_LIKE))


def _absent(
    prefill: records.FlopTable, step: records.DecodeStep, no_weights: bool, no_cache: str
) -> dict[str, str]:
    absent = {}
    if "architecture" not in _totals(prefill):
        absent["architecture"] = "no closed form is known for this architecture"
    if "directional" not in _totals(prefill):
        absent["directional"] = "the config does not name the widths that the formulas need"
    if no_weights:
        absent["prefill_weight_bytes"] = "how many experts run is not known"
    elif step.weight_bytes is None:
        absent["weight_bytes"] = "no module of the model is known to be its decoder"
    if no_cache:
        absent |= dict.fromkeys(("cache", "prefill_kv_bytes"), no_cache)
    return absent
