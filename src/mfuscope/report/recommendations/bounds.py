"""Bounds of gains that several rules share."""

import math

from mfuscope.report.recommendations import cures
from mfuscope.report.recommendations.rule import Facts


def batch_bound(facts: Facts) -> float:
    """The most that a larger batch takes off the time of the copies that are decoded now, in ms.

    A batch takes at least as long as the page alone, and its arithmetic is that of every copy.
    """
    cure = cures.batch(facts) or {}
    copies = cure["batch_size"] / facts.variant.batch_size if cure else math.inf
    page = facts.prefill.ms + facts.decode.ms
    arithmetic = sum(
        stage.at_work_ms * (stage.compute_share or 0.0) for stage in (facts.prefill, facts.decode)
    )
    return min(page * (1 - 1 / copies), page - arithmetic)
