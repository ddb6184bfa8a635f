"""Rules that make the numbers more certain, without a gain in time."""

from collections.abc import Iterable, Mapping, Sequence

from mfuscope.metrics.causes import STAGES, Cause
from mfuscope.metrics.precision import MOST_REPEATS, TARGET, Precision
from mfuscope.report.formats import percent, plural
from mfuscope.report.host_record import Finding, Kind
from mfuscope.report.recommendations.rule import Facts, Recommendation
from mfuscope.report.spread import CV_LIMIT, explanation, host_findings, host_side, spread, unsteady

#: Fewest degrees of freedom from which two repeats a page tell the spread.
LEAST_FREEDOM = 3

_CLOCKS = {"sm_clock", "sm_clock_lower", "throttled"}
# Title and text against a cause that explains more than any other.
_REMEDIES = {
    "sm_clock": (
        "Lock the clocks, then measure again",
        "nvidia-smi -lgc holds the clocks at one value.",
    ),
    "wait": (
        "Measure on a quieter host",
        "Other processes ran on the CPUs that the measurement needed. End them, or pin the process "
        "to cores of its own.",
    ),
    "tokens": (
        "Compare times per token",
        "Repeats of a page made different numbers of tokens: their decode times are of different "
        "work.",
    ),
    "collections": (
        "Keep garbage collection out of the runs",
        "mfuscope switches the collector off in a pass, so the model's code collects by itself: "
        "look for calls of gc.collect.",
    ),
}


def steady_clocks(facts: Facts) -> Iterable[Recommendation]:
    """Repeats differ: what helps depends on what explains most of it."""
    name = facts.variant.name
    shaky = [one for one in unsteady(facts.data) if one.variant == name]
    throttled = sum(len(runs) for (v, _), runs in facts.data.survey.throttled.items() if v == name)
    if throttled:
        yield Recommendation(
            rule="throttling",
            title="Cool or power the device so that it keeps its clocks",
            text="It was throttled during some runs, and their times are too long. Lower the "
            "clocks to what the device can keep (nvidia-smi -lgc), or remove the cause.",
            plain="The accelerator slowed itself down in some measurements, for heat or power.",
            evidence=(f"{plural(throttled, 'run')} with an active throttle reason",),
            gain_ms=None,
        )
    if not shaky:
        return
    worst, whole = shaky[0], spread(facts.data, shaky)
    sides = tuple(filter(None, (host_side(facts.variant, stage) for stage in STAGES)))
    title, text = _remedy(whole.causes, host_findings(facts.data, shaky), bool(sides))
    yield Recommendation(
        rule="variance",
        title=title,
        text=text,
        plain="The same page took clearly different times: repeat the measurement, at other times "
        "or on a quieter machine, before relying on small differences.",
        evidence=(
            f"{worst.stage} of {worst.image} varies by {percent(worst.stat.cv or 0)} between "
            f"repeats, the most of {plural(len(shaky), 'unsteady time')} (over "
            f"{percent(CV_LIMIT)})",
            f"where slow runs lost time: {explanation(whole.causes, whole.excess_ms)}",
            *sides,
        ),
        gain_ms=None,
    )


def _remedy(
    causes: Sequence[Cause], found: Mapping[Kind, Finding], host_varies: bool
) -> tuple[str, str]:
    """Title and text against what explains most; where no cause does, by what the record says.

    Args:
        causes: the largest first.
        host_varies: the device's busy time does not vary, the stage's does.
    """
    most = causes[0].kind if causes else ""
    if most in _REMEDIES:
        return _REMEDIES[most]
    if any(cause.kind in _CLOCKS for cause in causes):
        return _REMEDIES["sm_clock"]
    told: list[str] = []
    if "clock" in found:
        steady = {True: "The SM clock held steady.", None: "Clocks were not recorded."}
        told += filter(None, [steady.get(found["clock"].ruled_out)])
    wait = found["wait"]
    if not wait.ruled_out:
        if wait.ruled_out is None:
            told.append("The record lacks how long the measurement waited for a CPU.")
        told.append(
            "Look at the host: other processes, CPU frequency scaling, cores shared with "
            "neighbours. Pin the process to cores of its own, and repeat more often."
        )
        return "Measure on a quieter host", " ".join(told)
    throughout = host_varies and most in ("throughout", "parts")
    told += [
        f"The record rules out {wait.text}: ending other processes or pinning would not help.",
        "The host itself was slower throughout."
        if throughout
        else "Why these runs were slower was not recorded.",
        "Repeats spread over a longer time average it out.",
    ]
    return "Spread repeats over a longer time", " ".join(told)


def more_repeats(facts: Facts) -> Iterable[Recommendation]:
    """Too few repeats to estimate the spread, or for an interval that is narrow enough."""
    name = facts.variant.name
    own = [one for one in facts.data.precisions if one.variant == name]
    repeats = max(
        m.stats["prefill_ms"].n
        for page in facts.data.pages
        for m in page.measured
        if m.variant == name
    )
    if not own or (repeats < 3 and min(one.freedom for one in own) < LEAST_FREEDOM):
        yield Recommendation(
            rule="repeats",
            title="Measure each page at least three times",
            text="Set repeats to 3 or more: with fewer, a difference cannot be told from noise.",
            plain="Measure each page at least three times: only then is it known how certain the "
            "numbers are.",
            evidence=(f"{plural(repeats, 'repeat')} per page",),
            gain_ms=None,
        )
        return
    wide = [one for one in own if not one.enough]
    if not wide:
        return
    plans = [plan for one in wide if (plan := one.plan) is not None]
    target, evidence = f"±{percent(TARGET)}", tuple(map(_width, wide))
    if len(plans) < len(wide):
        yield Recommendation(
            rule="repeats",
            title="Find what makes the times vary before measuring more often",
            text=f"Even with {MOST_REPEATS} repeats, the 95 % interval of a page's mean would be "
            f"wider than {target}. Remove the cause of the spread first (see Steadiness).",
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
        text=f"At the present spread, that brings the 95 % interval of a page's mean within "
        f"{target} ({would}).",
        plain="Measure each page more often: its times vary too much for numbers within "
        f"{percent(TARGET)}.",
        evidence=evidence,
        gain_ms=None,
    )


def _width(one: Precision) -> str:
    passes = ""
    if one.cv_passes is not None:
        passes = f" and by {percent(one.cv_passes)} between the passes of a run"
    pooled = f" (pooled over {one.pages} pages)" if one.pages > 1 else ""
    return (
        f"{one.stage} varies by {percent(one.cv)} between repeats{pooled}{passes}; with "
        f"{one.repeats} repeats the 95 % interval of a page's mean is ±{percent(one.half_width)}"
    )
