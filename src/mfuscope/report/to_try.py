"""What to try: one list over everything, ranked by gain, each entry with its confidence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mfuscope.report.data import ReportData, Tried, Variant
from mfuscope.report.entries import Entry, Group, certain_entries, rule_entry, use_entry
from mfuscope.report.formats import listing, milliseconds
from mfuscope.report.publishable import noise_ms
from mfuscope.report.recommendations import Recommendation
from mfuscope.report.recommendations.advice import Experiment, change
from mfuscope.report.recommendations.proof import covers
from mfuscope.report.tried import fastest, highest_throughput

RANKING = (
    "The list is ranked by gain. measured: a variant tried it, and its gain was shown. measured, "
    "no difference shown: a variant tried it, and chance explains the gain as well. bound: not "
    "tried; it cannot bring more. A gain that was not shown counts only where it is larger than "
    "the noise: half the width of the 95 % interval of the page time."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tips:
    """What to try, the largest gain first.

    Attributes:
        left_out: how many were left out, and why; empty where none was.
        certainty: what only makes the numbers more certain.
        command: the call that measures what is only bounded; empty where nothing is.
    """

    entries: tuple[Entry, ...]
    left_out: str
    certainty: tuple[Entry, ...]
    command: str

    def first(self, *, valid: bool) -> Entry | None:
        """What to do first: the largest gain that is known; without valid numbers, better ones.

        Args:
            valid: whether the reference's headline numbers are.
        """
        known = [one for one in self.entries if one.gain_ms is not None]
        ranked = [*known, *self.certainty] if valid else [*self.certainty, *known]
        return next(iter([*ranked, *self.entries]), None)


def tips(
    data: ReportData,
    recommendations: Mapping[str, Sequence[Recommendation]],
    advised: Sequence[str],
) -> Tips:
    """One list over the variants that are advised.

    The best variants head it: what the reference's rules found and a best variant does is evidence
    for that one, and claims no gain of its own.

    Args:
        recommendations: of each variant.
        advised: the variants whose recommendations count.
    """
    variants = [variant for variant in data.variants if variant.name in advised]
    found = [(v, one) for v in variants for one in recommendations[v.name]]
    quick, many = fastest(data), highest_throughput(data)
    best = [one for one in (quick, many) if one is not None]
    open_ones = [pair for pair in found if pair[1].metric is not None]
    used = [pair for pair in open_ones if any(_does(data, one, *pair) for one in best)]
    rest = [pair for pair in open_ones if pair not in used]
    if quick is not None:  # what holds for the fastest variant too is said of that one
        later = {(one.rule, one.title) for v, one in rest if v is quick.variant}
        rest = [
            (v, one)
            for v, one in rest
            if v is not data.reference or (one.rule, one.title) not in later
        ]
    experiment = Experiment(data.command)
    groups = _groups(rest)
    slower = [group for group in groups if _verdict(group) == "slower"]
    listed = [group for group in groups if group not in slower]
    noisy = [group for group in listed if _in_noise(group)]
    listed = [group for group in listed if group not in noisy]
    entries = [
        *(use_entry(data, one, _answered(data, one, used, best)) for one in best),
        *(rule_entry(data, experiment, group) for group in listed),
    ]
    # A batch leaves the time to one answer as it is: it does not come before the fastest variant.
    most = entries[0].gain_ms if quick is not None and many is not None else None
    ranks = {id(one): -1.0 if one.gain_ms is None else one.gain_ms for one in entries}
    if most is not None:
        ranks[id(entries[1])] = min(ranks[id(entries[1])], most)
    untried = [(variant, one) for group in listed for variant, one in group]
    return Tips(
        entries=tuple(sorted(entries, key=lambda one: -ranks[id(one)])),
        left_out=_left_out(data, noisy, slower),
        certainty=tuple(certain_entries(data, found)),
        command=experiment.command(untried),
    )


def _does(data: ReportData, one: Tried, variant: Variant, found: Recommendation) -> bool:
    """Whether a variant that was tried does what a rule recommends for the reference."""
    if variant is not data.reference or found.cure is None:
        return False
    own, other = data.settings_of(variant.name), data.settings_of(one.variant.name)
    return covers(own, other, found.cure)


def _answered(data: ReportData, one: Tried, used: Group, best: Sequence[Tried]) -> Group:
    """What of the reference's recommendations a best variant does, and none before it."""
    before = best[: best.index(one)]
    return [
        pair
        for pair in used
        if _does(data, one, *pair) and not any(_does(data, other, *pair) for other in before)
    ]


def _groups(found: Iterable[tuple[Variant, Recommendation]]) -> list[Group]:
    """Recommendations that one variant measured are one; its largest first."""
    groups: dict[tuple[str, ...], Group] = {}
    for variant, one in found:
        proof = (one.proof.variant,) if one.proof is not None else (one.rule, one.title)
        groups.setdefault((variant.name, *proof), []).append((variant, one))
    return [sorted(group, key=lambda pair: -pair[1].worth_ms) for group in groups.values()]


def _verdict(group: Group) -> str:
    proof = group[0][1].proof
    return "" if proof is None else proof.verdict


def _in_noise(group: Group) -> bool:
    """Whether the gain was not shown and is smaller than the noise of the page time."""
    variant, one = group[0]
    noise = noise_ms(variant)
    known = one.proof is not None or one.gain_ms is not None
    return known and _verdict(group) != "faster" and noise is not None and one.worth_ms < noise


def _left_out(data: ReportData, noisy: Sequence[Group], slower: Sequence[Group]) -> str:
    told = []
    if noisy:
        limits = {v.name: noise_ms(v) or 0.0 for group in noisy for v, _ in group}
        noise = listing(
            [
                f"±{milliseconds(ms)}{f' for {name}' if data.tried else ''}"
                for name, ms in limits.items()
            ]
        )
        told.append(f"{_named(noisy)}, within the noise of the page time ({noise})")
    if slower:
        told.append(f"{_named(slower)}, slower when tried")
    return f"Left out: {'; '.join(told)}." if told else ""


def _named(groups: Sequence[Group]) -> str:
    return listing(
        [f"{one.title} ({change(one.worth_ms)})" for group in groups for _, one in group]
    )
