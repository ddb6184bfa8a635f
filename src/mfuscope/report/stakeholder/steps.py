"""What to do first: what it brings at least and at most, what it costs to try, and how sure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mfuscope.compare.variants import compare_all
from mfuscope.report.data import ReportData, Tried, Variant
from mfuscope.report.formats import listing, number, percent
from mfuscope.report.publishable import noise_ms
from mfuscope.report.recommendations import Recommendation, recommend
from mfuscope.report.side_by_side import changes_text
from mfuscope.report.stakeholder.digits import figure
from mfuscope.report.stakeholder.setups import Setup
from mfuscope.report.tried import is_batch, speed_metric
from mfuscope.report.wording import stand_in_statement

#: Steps that fit on one page.
MOST = 3

_CODE = "A change of code"
# Of rules that change what the model computes with, or what it sees.
_CHECKED = {
    *("quantise_weights", "quantise_cache", "lower_precision", "fewer_tokens", "vision_resolution"),
}
_CHECK = ", and a check of the text on known pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to do.

    Attributes:
        what: an instruction.
        brings: at least and at most.
        costs: what it takes to try.
        sure: how sure the gain is.
    """

    what: str
    brings: str
    costs: str
    sure: str


def steps(data: ReportData, shown: tuple[Setup, ...]) -> list[Step]:
    """The first things to do, the measured ones first.

    What remains is recommended for the fastest setup that may replace the reference.
    """
    found = []
    if stand_in_statement(data):
        found.append(
            Step(
                what="Measure the full model on the accelerator that it will run on.",
                brings="Numbers that hold for it",
                costs="An hour or less of its time",
                sure="Those of this page say nothing about it",
            )
        )
    found += [_adopt(data, shown, one, one.tried) for one in shown if one.tried is not None]
    return [*found, *_remaining(data, shown), *_surer(data)][:MOST]


def _adopt(data: ReportData, shown: tuple[Setup, ...], setup: Setup, one: Tried) -> Step:
    """To run the model as in a setup that was tried."""
    what = f"Run it as {setup.name} ({changes_text(one.changes)})."
    costs = f"A setting{_compilation(setup.variant)}"
    if is_batch(data, one):
        what = f"Where many pages wait, read {setup.variant.batch_size} at once ({setup.name})"
        what += _instead(shown, one)
        costs += "; software that collects pages"
    elif not one.same_tokens:
        costs += _CHECK
    brings = f"{_times(one, speed_metric(data, one))} the pages of {data.reference.name}"
    if is_batch(data, one):
        brings += _beside(data, shown, one)
    text = {
        True: "with the same answers",
        False: "but with other answers",
        None: "but the answers were not compared",
    }[one.same_tokens]
    if one.same_tokens and one.variant.model.weights == "dummy":
        text = "with dummy weights"
    sure = f"Measured: more than the scatter explains, {text}"
    return Step(what=what, brings=brings, costs=costs, sure=sure)


def _instead(shown: tuple[Setup, ...], batch: Tried) -> str:
    """Whether a batch was tried together with what comes before it."""
    before = [one for one in shown if one.tried is not None and one.tried is not batch]
    apart = [
        one.name
        for one in before
        if one.tried and not one.tried.changes.items() <= batch.changes.items()
    ]
    return f"; this was not tried together with {listing(apart)}." if apart else "."


def _beside(data: ReportData, shown: tuple[Setup, ...], batch: Tried) -> str:
    """What a batch brings beside the fastest setup that is no batch; empty without one."""
    for one in shown:
        if one.tried is None or one.refused or is_batch(data, one.tried):
            continue
        found = compare_all(data.samples[one.name], data.samples[batch.variant.name], "page_ms")
        if found.ratio:
            copies = batch.variant.batch_size / one.variant.batch_size
            low, high = found.ci95_low, found.ci95_high
            rate = figure(
                copies / found.ratio, copies / high if high else None, copies / low if low else None
            )
            return f", {rate.ends or rate.text} times those of {one.name}"
    return ""


def _times(one: Tried, metric: str) -> str:
    """How many times as many pages an hour, by the interval of the comparison."""
    found = one.compared[metric]
    ratio, low, high = found.ratio or 1.0, found.ci95_low, found.ci95_high
    if metric.endswith("_ms"):
        ratio, low, high = 1 / ratio, 1 / high if high else None, 1 / low if low else None
    ends = figure(ratio, low, high)
    return f"{ends.ends or ends.text} times"


def _compilation(variant: Variant) -> str:
    seconds = variant.compile_s
    return "" if not seconds else f"; {number(seconds, 2)} s to prepare at each start"


def _remaining(data: ReportData, shown: tuple[Setup, ...]) -> Iterator[Step]:
    """What is recommended for the fastest setup of the reference's batch size and text."""
    singles = [one for one in shown if one.tried is None or not is_batch(data, one.tried)]
    setup = next((one for one in singles if one.tried and one.tried.same_tokens), shown[0])
    noise = noise_ms(setup.variant) or 0.0
    adopted = [one.tried.changes for one in shown if one.tried is not None]
    for one in recommend(data, setup.variant):
        if one.metric is None or _is_adopted(one.cure or {}, adopted):
            continue
        if one.gain_ms is not None and one.worth_ms < noise:
            continue
        if one.proof is not None and one.proof.verdict != "faster":
            continue
        yield Step(
            what=one.plain,
            brings=_brings(one, setup),
            costs=_costs(data, one),
            sure="Measured: more than the scatter explains"
            if one.proof is not None
            else "Not tried: a calculated limit",
        )


def _is_adopted(cure: Mapping[str, Any], adopted: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a setup that is shown has the settings of a cure; any batch has that of batches."""
    wanted = {key: value for key, value in cure.items() if key != "batch_size"}
    return bool(cure) and any(
        wanted.items() <= changes.items() and ("batch_size" not in cure or "batch_size" in changes)
        for changes in adopted
    )


def _surer(data: ReportData) -> list[Step]:
    """What makes the numbers more certain: the first such recommendation for the reference."""
    found = [one for one in recommend(data, data.reference) if one.metric is None]
    return [
        Step(
            what=one.plain,
            brings="More certain numbers",
            costs="Time of the device",
            sure="It makes nothing faster",
        )
        for one in found[:1]
    ]


def _brings(one: Recommendation, setup: Setup) -> str:
    """The ends of a measured gain, else the bound, in a page's time of a setup."""
    if setup.refused:
        return "Not known: its page time has no number"
    page = setup.variant.ms_per_page
    of = f"less time a page{f' than {setup.name}' if setup.tried else ''}"
    proof = one.proof
    if proof is not None and proof.ci95_low is not None and proof.ci95_high is not None:
        least, most = (percent(max(end, 0) / page) for end in (proof.ci95_low, proof.ci95_high))
        return f"{least} to {most} {of}"
    if one.gain_ms is None:
        return "Not known"
    return f"At most {percent(min(one.gain_ms / page, 1.0))} {of}"


def _costs(data: ReportData, one: Recommendation) -> str:
    check = _CHECK if one.rule in _CHECKED else ""
    if one.cure is None:
        return f"{_CODE}{check}"
    return f"A setting ({changes_text(one.cure)}): minutes{_compiles(data, one.cure)}{check}"


def _compiles(data: ReportData, cure: Mapping[str, Any]) -> str:
    """Seconds of compilation that a cure needs, where a variant measured them."""
    kind = cure.get("compile", "none")
    if kind == "none":
        return ""
    measured = _compiled(data, kind)
    return f", {measured} of them compilation" if measured else ", with compilation"


def _compiled(data: ReportData, kind: str) -> str:
    found: Iterable[float] = (
        variant.compile_s
        for variant in data.variants
        if variant.compile_s and data.settings_of(variant.name).get("compile") == kind
    )
    seconds = max(found, default=None)
    return "" if seconds is None else f"{number(seconds, 2)} s"
