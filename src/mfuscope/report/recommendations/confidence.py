"""Rules that make the numbers more certain, without a gain in time."""

from collections.abc import Iterable

from mfuscope.metrics.causes import STAGES
from mfuscope.metrics.precision import MOST_REPEATS, TARGET, Precision
from mfuscope.report.formats import percent, plural
from mfuscope.report.recommendations.rule import Facts, Recommendation
from mfuscope.report.spread import CV_LIMIT, explanation, host_side, spread, unsteady

_CLOCKS = {"sm_clock", "sm_clock_lower", "throttled"}


def steady_clocks(facts: Facts) -> Iterable[Recommendation]:
    """Repeats differ: lock the device's clocks, or use a quieter host."""
    name = facts.variant.name
    shaky = [one for one in unsteady(facts.data) if one.variant == name]
    throttled = sum(len(runs) for (v, _), runs in facts.data.survey.throttled.items() if v == name)
    if throttled:
        yield Recommendation(
            rule="throttling",
            title="Cool or power the device so that it keeps its clocks",
            text="It was throttled during some runs, whose times are then those of a slower "
            "device. Lower the clocks to what it can keep (nvidia-smi -lgc), or remove the cause.",
            plain="The accelerator slowed itself down in some measurements, for heat or power.",
            evidence=(f"{plural(throttled, 'run')} with an active throttle reason",),
            gain_ms=None,
        )
    if not shaky:
        return
    worst, whole = shaky[0], spread(facts.data, shaky)
    clocks = any(cause.kind in _CLOCKS for cause in whole.causes)
    waited = any(cause.kind == "wait" for cause in whole.causes)
    text = (
        "No clock and no throttling explains the spread, so look at the host: other processes, CPU "
        "frequency scaling, cores shared with neighbours. Pin the process to cores of its own, and "
        "repeat more often."
    )
    if clocks:
        text = "nvidia-smi -lgc holds the clocks at one value."
    elif waited:
        text = (
            "Other processes ran on the CPUs that the measurement needed. End them, or pin the "
            "process to cores of its own."
        )
    yield Recommendation(
        rule="variance",
        title="Lock the clocks, then measure again" if clocks else "Measure on a quieter host",
        text=text,
        plain="The same page took clearly different times: repeat the measurement on a quieter "
        "machine before relying on small differences.",
        evidence=(
            f"{worst.stage} of {worst.image} varies by {percent(worst.stat.cv or 0)} between "
            f"repeats; {plural(len(shaky), 'time')} of a stage by more than {percent(CV_LIMIT)}",
            f"what explains slow runs: {explanation(whole.causes, whole.excess_ms)}",
            *filter(None, (host_side(facts.variant, stage) for stage in STAGES)),
        ),
        gain_ms=None,
    )


def more_repeats(facts: Facts) -> Iterable[Recommendation]:
    """Too few repeats to estimate the spread, or for an interval that is narrow enough."""
    if facts.data.repeats < 3:
        yield Recommendation(
            rule="repeats",
            title="Measure each page at least three times",
            text="Set repeats to 3 or more: with fewer, the spread is not known well enough to "
            "distinguish a difference from noise.",
            plain="Measure each page at least three times: only then is it known how certain the "
            "numbers are.",
            evidence=(f"{plural(facts.data.repeats, 'repeat')} per page",),
            gain_ms=None,
        )
        return
    own = (one for one in facts.data.precisions if one.variant == facts.variant.name)
    wide = [one for one in own if not one.enough]
    if not wide:
        return
    plans = [plan for one in wide if (plan := one.plan) is not None]
    target, evidence = f"±{percent(TARGET)}", tuple(map(_width, wide))
    if len(plans) < len(wide):
        yield Recommendation(
            rule="repeats",
            title="Find what makes the times vary before measuring more often",
            text=f"Even {MOST_REPEATS} repeats would not bring the 95 % interval of a page's mean "
            f"within {target}: remove the cause of the spread first (see Steadiness).",
            plain="The times vary so much that measuring more often would not help: what disturbs "
            "them has to be found first.",
            evidence=evidence,
            gain_ms=None,
        )
        return
    repeats = max(plan.repeats for plan in plans)
    passes = max(plan.timed_passes for plan in plans)
    changes = []
    if repeats > min(one.repeats for one in wide):
        changes.append(f"repeats to {repeats}")
    if passes > min(one.timed_passes for one in wide):
        changes.append(f"timed_passes to {passes}")
    would = "; ".join(
        f"{one.stage} ±{percent(plan.half_width)}" for one, plan in zip(wide, plans, strict=True)
    )
    yield Recommendation(
        rule="repeats",
        title=f"Set {' and '.join(changes)}",
        text=f"That would bring the 95 % interval of a page's mean within {target} ({would}), if "
        "times go on to vary as they do.",
        plain="Measure each page more often: its times vary too much for numbers within "
        f"{percent(TARGET)}.",
        evidence=evidence,
        gain_ms=None,
    )


def _width(one: Precision) -> str:
    passes = ""
    if one.cv_passes is not None:
        passes = f", single passes of a run by {percent(one.cv_passes)}"
    return (
        f"{one.stage} varies by {percent(one.cv)} between repeats{passes}: the 95 % interval of a "
        f"page's mean is ±{percent(one.half_width)} with {one.repeats} repeats"
    )
