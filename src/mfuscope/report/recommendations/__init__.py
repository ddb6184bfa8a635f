"""What to try next: rules that turn measured facts into recommendations.

A rule fires by its numbers alone, quotes them, and gives the most that following it could take off
a page's time: an upper bound, not a promise. It names the settings that test it (`cures`); where a
variant has them, its measurement takes the bound's place (`proof`). `advice` has the words of both.
To add one, write a function in `speed` or `confidence` and list it in `RULES`.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from mfuscope.report.data import ReportData, Variant
from mfuscope.report.limits import stage_facts
from mfuscope.report.recommendations.confidence import more_repeats, steady_clocks
from mfuscope.report.recommendations.experts import copied_experts
from mfuscope.report.recommendations.proof import prove
from mfuscope.report.recommendations.rule import Facts, Proof, Recommendation
from mfuscope.report.recommendations.speed import (
    compute_bound,
    launches,
    memory_bound_decode,
    small_operators,
    vision_dominates,
)

__all__ = ["RULES", "Proof", "Recommendation", "recommend"]


#: Least gain of a recommendation, as a share of a page's time.
LEAST_GAIN = 0.01


RULES: tuple[Callable[[Facts], Iterable[Recommendation]], ...] = (
    launches,
    memory_bound_decode,
    compute_bound,
    vision_dominates,
    small_operators,
    copied_experts,
    steady_clocks,
    more_repeats,
)


def recommend(data: ReportData, variant: Variant) -> list[Recommendation]:
    """The recommendations for a variant: the largest gain, measured or bounded, first."""
    facts = Facts(
        data=data,
        variant=variant,
        prefill=stage_facts(variant, "prefill", data.hardware, data.ceiling),
        decode=stage_facts(variant, "decode", data.hardware, data.ceiling),
    )
    found = [one for rule in RULES for one in rule(facts)]
    worth = [
        one for one in found if one.gain_ms is None or one.gain_ms >= LEAST_GAIN * variant.page_ms
    ]
    proven = [prove(data, variant, _of_a_page(one, variant)) for one in worth]
    # Those without any gain in time last.
    return sorted(proven, key=lambda one: (one.metric is None, -one.worth_ms))


def _of_a_page(one: Recommendation, variant: Variant) -> Recommendation:
    """With its gain in the time of one page, where times are of a whole batch."""
    if one.gain_ms is None or variant.batch_size == 1:
        return one
    return replace(one, gain_ms=one.gain_ms / variant.batch_size)
