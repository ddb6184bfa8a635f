"""Provenances of hand-made runs, and what is asked for when they are right."""

from dataclasses import fields
from typing import Any

import builders

from mfuscope.config.settings import ModelSettings
from mfuscope.provenance.facts import Provenance

_MODEL = [field.name for field in fields(ModelSettings)]
_RECORDED = builders.run().settings

#: What `builders.run` is a measurement of, as planning has it.
SETTINGS: dict[str, Any] = {
    name: value for name, value in _RECORDED.items() if name not in _MODEL
} | {
    "model": {name: _RECORDED[name] for name in _MODEL}
    | {"device": "cuda", "fingerprint": builders.model().fingerprint, "protocol": 2}
}


def a_run(repeat: int = 0, **changes: Any) -> Provenance:
    """The provenance of `builders.run`, with other facts."""
    run = builders.run(repeat=repeat, **changes)
    return Provenance(**{field.name: getattr(run, field.name) for field in fields(Provenance)})
