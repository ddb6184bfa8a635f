"""What a run's record says of how it was measured, as facts that can be compared and told.

docs/measurement.md tells which facts are compared, and why others are not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from mfuscope.config.settings import ModelSettings
from mfuscope.core.records import Device, Model, Page, Versions

_UNKNOWN: Final = "unknown"

_MODEL: Final = [field.name for field in fields(ModelSettings)]

Facts = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The part of a run's record that says what it is a measurement of."""

    protocol: int
    variant: str
    image: str
    repeat: int
    page: Page
    model: Model
    settings: dict[str, Any]
    device: Device
    versions: Versions

    @property
    def name(self) -> str:
        """The run in short; also where its record lies (`naming` sees to that)."""
        return f"{self.variant}/{self.image}/{self.repeat}"

    @property
    def record(self) -> str:
        """Where its record lies in a folder of results."""
        return f"{self.variant}/runs/{self.image}/{self.repeat}.json"


def conditions(run: Origin) -> Facts:
    """What changes times, whatever is measured."""
    facts = {"device": device_words(run.device), "measurement protocol": str(run.protocol)}
    versions = software(run.versions)
    if run.device.kind == "cpu":  # which has no use for them
        del versions["CUDA"], versions["driver"]
    return facts | versions


def device_words(device: Device) -> str:
    """A device's model; another card of the same model is the same."""
    if device.kind == "cpu":
        return f"{device.name} ({device.threads} threads)"
    # What a driver leaves of the memory differs a little.
    return f"{device.name} ({device.sm_count} SMs, {device.memory_bytes / 2**30:.0f} GiB)"


def software(versions: Versions) -> Facts:
    """What runs pass through on their way to the device."""
    return {
        "torch": versions.torch,
        "transformers": versions.transformers,
        "Python": ".".join(versions.python.split(".")[:2]),
        "CUDA": versions.cuda or _UNKNOWN,
        "driver": versions.driver or _UNKNOWN,
    }


def settings_of(run: Origin) -> Facts:
    """What the settings and the model folder made of a run."""
    return dict(flat_settings(run.settings)) | {
        "model files": run.model.fingerprint,
        "weights": run.model.weights,
        "precision": run.model.dtype,
        "expert layers": str(run.model.experts_implementation),
    }


def asked_for(settings: Mapping[str, Any]) -> Facts:
    """The same, as far as settings tell it beforehand (`planning.Plan.run_settings`)."""
    own = dict(settings)
    model = own.pop("model")
    return dict(flat_settings(own | {name: model[name] for name in _MODEL})) | {
        "model files": model["fingerprint"]
    }


def page_of(run: Origin) -> Facts:
    """Which content of a page it was."""
    return {"page content": run.page.sha256}


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values as texts, sorted; of mappings within, the names joined by a dot."""
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
