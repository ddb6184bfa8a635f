"""Settings that test what the rules recommend; None where no setting does."""

from collections.abc import Mapping
from typing import Any

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
_COPIES = 8
_SMALLEST = "tiny"
# The next smaller mode of each, and the modes by their canonical resolution.
_SMALLER = {"gundam": "base", "large": "base", "base": "small", "small": _SMALLEST}
_MODES = {"1280": "large", "1024": "base", "640": "small", "512": _SMALLEST}


def is_compiled(facts: Facts, stage: StageName) -> bool:
    """Whether a stage is compiled already."""
    return stage in _STAGES_OF.get(str(facts.settings.get("compile")), ())


def compiled(facts: Facts, stage: StageName) -> Cure:
    """Compile a stage: the decode step as CUDA graphs, of prefill the vision encoder."""
    return None if is_compiled(facts, stage) else _COMPILED[stage]


def batch(facts: Facts) -> Cure:
    """Decode more copies of a page at once."""
    return {"batch_size": _COPIES * facts.variant.batch_size}


def fewer_pixels(facts: Facts) -> Cure:
    """The next smaller resolution mode."""
    mode = _mode(facts)
    return {"resolution": _SMALLER[mode]} if mode in _SMALLER else None


def is_smallest(facts: Facts) -> bool:
    """Whether there is no mode of fewer pixels."""
    return _mode(facts) == _SMALLEST


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
