"""Recommendations that were measured: the variant that follows one, and what it brought."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mfuscope.compare.variants import compare_all
from mfuscope.compare.verdicts import verdict
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.recommendations.rule import Proof, Recommendation
from mfuscope.report.tried import changes


def prove(data: ReportData, variant: Variant, one: Recommendation) -> Recommendation:
    """A recommendation for a variant with the measurement of its cure, if there is one.

    Where several variants follow it (batches of several sizes), the best one counts.
    """
    if one.cure is None or one.metric is None:
        return one
    proofs = [
        proof
        for name in followers(data, variant, one.cure)
        if (proof := _proof(data, variant, name, one)) is not None
    ]
    best = max(proofs, key=lambda proof: proof.gain_ms, default=None)
    return replace(one, proof=best)


def followers(data: ReportData, variant: Variant, cure: Mapping[str, Any]) -> Iterable[str]:
    """The variants whose settings are those of a variant with the cure, and differ in nothing else.

    Any larger batch tests the batch, and any resolution of fewer tokens the resolution.
    """
    own = data.settings_of(variant.name)
    if not own:
        return
    for other in data.variants:
        settings = data.settings_of(other.name)
        wanted = {**own, **cure}
        for free in ("batch_size", "resolution"):
            if free in cure:
                wanted[free] = settings.get(free)
        if other.name == variant.name or changes(wanted, settings):
            continue
        if "batch_size" in cure and other.batch_size <= variant.batch_size:
            continue
        if "resolution" in cure and not _fewer_tokens(data, variant.name, other.name):
            continue
        yield other.name


def covers(own: Mapping[str, Any], other: Mapping[str, Any], cure: Mapping[str, Any]) -> bool:
    """Whether other settings do what a cure over the own ones asks for, or more of it."""

    def does(name: str, wanted: object) -> bool:
        has = other.get(name)
        if name == "compile" and wanted == "decode":
            return has in ("decode", "all")
        if name == "batch_size":
            return isinstance(has, int) and has > int(own.get(name, 1))
        return bool(has == wanted)

    return all(does(name, wanted) for name, wanted in cure.items())


def _fewer_tokens(data: ReportData, variant: str, other: str) -> bool:
    """Whether the prompts of the pages that both variants have are shorter in the other one."""
    tokens = data.survey.tokens
    images = [page.image for page in data.pages]
    both = [image for image in images if (variant, image) in tokens and (other, image) in tokens]
    return sum(tokens[other, image].prompt for image in both) < sum(
        tokens[variant, image].prompt for image in both
    )


def _proof(data: ReportData, variant: Variant, name: str, one: Recommendation) -> Proof | None:
    metric = one.metric or ""
    found = compare_all(data.samples[variant.name], data.samples[name], metric)
    if found.ratio is None or found.reference_mean is None:
        return None
    other = next(v for v in data.variants if v.name == name)
    # Times of a batch are of the whole batch; a gain is of one page.
    copies = other.batch_size / variant.batch_size
    page_ms = found.reference_mean / variant.batch_size

    def gain(ratio: float) -> float:
        return page_ms * (1 - ratio / copies)

    def limit(ratio: float | None) -> float | None:
        return None if ratio is None else gain(ratio)

    scaled = replace(
        found,
        ratio=found.ratio / copies,
        ci95_low=None if found.ci95_low is None else found.ci95_low / copies,
        ci95_high=None if found.ci95_high is None else found.ci95_high / copies,
    )
    gained, said = gain(found.ratio), verdict(metric, scaled)
    return Proof(
        variant=name,
        changes=changes(data.settings_of(variant.name), data.settings_of(name)),
        gain_ms=gained,
        of_ms=page_ms,
        ci95_low=limit(found.ci95_high),
        ci95_high=limit(found.ci95_low),
        of_bound=gained / one.gain_ms if one.gain_ms and said == "faster" else None,
        verdict=said,
    )
