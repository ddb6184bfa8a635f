"""Settings that test what the rules recommend; None where no setting does."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from mfuscope.models.families import Family
from mfuscope.planning.host import has_compiler
from mfuscope.report.limits import StageName
from mfuscope.report.recommendations.rule import Facts

Cure = Mapping[str, Any] | None

_COMPILED: Mapping[StageName, Mapping[str, Any]] = {
    "decode": {"cache": "static", "compile": "decode"},
    "prefill": {"cache": "static", "compile": "all"},
}
_STAGES_OF: Mapping[str, tuple[StageName, ...]] = {
    "decode": ("decode",),
    "all": ("decode", "prefill"),
}
# Settings that break the graph of a step (planning refuses them), and what to set instead.
_NOT_COMPILED = {"experts": ("eager", "auto"), "attention": ("flash", "sdpa")}
_COPIES = 8
_SMALLEST = "tiny"
# The next smaller mode of each, and the modes by their canonical resolution.
_SMALLER = {"gundam": "base", "large": "base", "base": "small", "small": _SMALLEST}
_MODES = {"1280": "large", "1024": "base", "640": "small", "512": _SMALLEST}


def is_compiled(facts: Facts, stage: StageName) -> bool:
    """Whether a stage is compiled already."""
    return stage in _STAGES_OF.get(str(facts.settings.get("compile")), ())


def compiled(facts: Facts, stage: StageName) -> Cure:
    """Compile a stage: the decode step as CUDA graphs, of prefill the vision encoder.

    With what planning asks for beside it; None on a host without a compiler, and where no vision
    encoder is known.
    """
    unknown = stage == "prefill" and facts.variant.stats["vision_ms"].mean is None
    if unknown or is_compiled(facts, stage) or not _can_compile(facts):
        return None
    needed = {
        name: instead
        for name, (refused, instead) in _NOT_COMPILED.items()
        if facts.settings.get(name) == refused
    }
    return {**needed, **_COMPILED[stage]}


def _can_compile(facts: Facts) -> bool:
    """Whether code for the device can be compiled: for a CPU it takes a C++ compiler."""
    return facts.data.hardware.device.kind == "cuda" or has_compiler("cpu")


def batch(facts: Facts) -> Cure:
    """Decode more copies of a page at once."""
    return {"batch_size": _COPIES * facts.variant.batch_size}


def experts(facts: Facts) -> Cure:
    """Another implementation of routed experts: a kernel of a hub, or the loop over experts.

    The loop breaks a captured graph, so that planning refuses it there.
    """
    if importlib.util.find_spec("kernels") is not None:  # transformers takes the others from it
        return {"experts": "sonicmoe"}
    return None if is_compiled(facts, "decode") else {"experts": "eager"}


def fewer_pixels(facts: Facts) -> Cure:
    """The next smaller resolution mode."""
    if facts.variant.model.family == Family.GENERIC:  # it has no modes
        return None
    mode = _mode(facts)
    return {"resolution": _SMALLER[mode]} if mode in _SMALLER else None


def is_smallest(facts: Facts) -> bool:
    """Whether there is no mode of fewer pixels; generic models' own processors have no modes."""
    return facts.variant.model.family == "generic" or _mode(facts) == _SMALLEST


def _mode(facts: Facts) -> str:
    """The resolution mode of a variant; that of `auto` follows from what its pages became."""
    mode = str(facts.settings.get("resolution", ""))
    if mode != "auto":
        return mode
    seen = {
        one.resolution
        for page in facts.data.pages
        for one in page.measured
        if one.variant == facts.variant.name
    }
    if any("+" in resolution for resolution in seen):
        return "gundam"
    return next((name for size, name in _MODES.items() if size in seen), "")
