"""Where a run comes from, as facts that can be compared and shown.

docs/measurement.md has which facts are compared, and why others are not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from mfuscope.config.settings import ModelSettings
from mfuscope.core.records import PROTOCOL, Device, Model, Page, Versions
from mfuscope.core.runs import RunKey
from mfuscope.storage.artefacts import read_json
from mfuscope.storage.validation import check_filing

Facts = dict[str, str]

_UNKNOWN: Final = "unknown"
_UNSET: Final = "unset"
_MODEL: Final = [field.name for field in fields(ModelSettings)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The part of a run's record that identifies what was measured, when, and with what."""

    protocol: int
    variant: str
    image: str
    repeat: int
    measured_at: str
    page: Page
    model: Model
    settings: dict[str, Any]
    device: Device
    versions: Versions

    @property
    def key(self) -> RunKey:
        """Which run it is of."""
        return RunKey(self.variant, self.image, self.repeat)


def read_provenance(path: Path) -> Provenance:
    """Read the provenance of a run from its record.

    Raises:
        InvalidFileError: the file is no run's record, or lies under another run's name.
        FileNotFoundError: there is no file.
    """
    provenance = read_json(path, Provenance)
    check_filing(path, provenance.key)
    return provenance


def conditions(run: Provenance) -> Facts:
    """The device and the software, which change times whatever is measured."""
    versions = software(run.versions)
    if run.device.kind == "cpu":  # which has no use for them
        del versions["CUDA"], versions["driver"]
    return {"device": describe_device(run.device)} | versions


def describe_device(device: Device) -> str:
    """A device's model; another card of the same model is the same."""
    if device.kind == "cpu":
        return f"{device.name} ({device.threads} threads)"
    # What a driver leaves of the memory differs a little.
    return f"{device.name} ({device.sm_count} SMs, {device.memory_bytes / 2**30:.0f} GiB)"


def software(versions: Versions) -> Facts:
    """The software between a run and its device."""
    return {
        "torch": versions.torch,
        "transformers": versions.transformers,
        "Python": ".".join(versions.python.split(".")[:2]),
        "CUDA": versions.cuda or _UNKNOWN,
        "driver": versions.driver or _UNKNOWN,
    }


def model_facts(run: Provenance) -> Facts:
    """What a device and the software made of the settings ``auto``, within a variant."""
    return {
        "weights": run.model.weights,
        "precision": run.model.dtype,
        "expert layers": str(run.model.experts_implementation),
    }


def matches(run: Provenance, settings: Mapping[str, Any], page_sha256: str) -> bool:
    """Whether a run is a measurement of what is asked for now.

    Args:
        settings: what decides its variant's runs (`planning.parameters.run_parameters`).
        page_sha256: digest of its page as the page is now.
    """
    return not differences(run, settings, page_sha256)


def differences(
    run: Provenance, settings: Mapping[str, Any], page_sha256: str
) -> dict[str, tuple[str, str]]:
    """How a run was measured and what is asked for now, by name where the two differ.

    Compared are the measurement protocol, the settings, the model's files and the page's content.
    """
    then = dict(_flat(run.settings)) | {
        "model files": run.model.fingerprint,
        "measurement protocol": str(run.protocol),
        "page content": run.page.sha256,
    }
    own = dict(settings)
    model = own.pop("model")
    now = dict(_flat(own | {name: model[name] for name in _MODEL})) | {
        "model files": model["fingerprint"],
        "measurement protocol": str(PROTOCOL),
        "page content": page_sha256,
    }
    return {
        name: (then.get(name, _UNSET), now.get(name, _UNSET))
        for name in now | then
        if then.get(name) != now.get(name)
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values as texts, sorted; of mappings within, the names joined by a dot."""
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
