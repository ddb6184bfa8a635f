"""The variants of a plan: which are for the device, and whose findings are whose."""

from collections.abc import Mapping

from mfuscope.config.settings import InferenceSettings, Settings
from mfuscope.core.errors import Findings, UserError


def add_named(findings: Findings, by_variant: Mapping[str, Findings]) -> None:
    """Add the findings of the variants, with the variants' names unless all of them share one."""
    names: dict[str, list[str]] = {}
    errors: dict[str, UserError] = {}
    for name, found in by_variant.items():
        for error in found.errors:
            names.setdefault(str(error), []).append(name)
            errors[str(error)] = error
    for message, concerned in names.items():
        error = errors[message]
        if len(concerned) < len(by_variant):
            several = "variants" if len(concerned) > 1 else "variant"
            problem = f"{several} {', '.join(concerned)}: {error.problem}"
            error = UserError(problem, error.remedy)
        findings.add(error)


def suitable_variants(settings: Settings, device: str | None) -> Mapping[str, InferenceSettings]:
    """The variants that are for the planned device; all of them where there is none.

    Raises:
        UserError: none is for it.
    """
    if device is None:
        return settings.variants
    kind = device.partition(":")[0]
    suitable = {
        name: inference
        for name, inference in settings.variants.items()
        if settings.only_on.get(name, kind) == kind
    }
    if not suitable:
        raise UserError(
            f"variants: none is for the device that measures, {device}",
            "add one without `only_on`, or set another `device`",
        )
    return suitable
