"""Rules that make the numbers more certain, without a gain in time."""

from collections.abc import Iterable

from mfuscope.report.data import STAGES, Variant
from mfuscope.report.formats import percent, plural
from mfuscope.report.recommendations.rule import Facts, Recommendation
from mfuscope.report.validity import CV_LIMIT, unsteady

#: If the busy time varies by less than this share of the stage's variation, the host causes it.
HOST_LIMIT = 0.1


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
    worst = shaky[0]
    causes = sorted({cause for one in shaky for cause in one.causes})
    clocks = any("clock" in cause or "throttled" in cause for cause in causes)
    yield Recommendation(
        rule="variance",
        title="Lock the clocks, then measure again" if clocks else "Measure on a quieter host",
        text="nvidia-smi -lgc holds the clocks at one value."
        if clocks
        else "No clock and no throttling explains the spread, so look at the host: other "
        "processes, CPU frequency scaling, cores shared with neighbours. Pin the process to cores "
        "of its own, and repeat more often.",
        plain="The same page took clearly different times: repeat the measurement on a quieter "
        "machine before relying on small differences.",
        evidence=(
            f"{worst.stage} of {worst.image} varies by {percent(worst.stat.cv or 0)} between "
            f"repeats; {plural(len(shaky), 'time')} of a stage by more than {percent(CV_LIMIT)}",
            f"recorded causes of slow runs: {'; '.join(causes) or 'none'}",
            *_steady_device(facts.variant),
        ),
        gain_ms=None,
    )


def _steady_device(variant: Variant) -> Iterable[str]:
    """Evidence that the host causes the spread: the device's busy time hardly varies."""
    for stage in STAGES:
        busy, wall = variant.stats[f"{stage}_device_busy_ms"], variant.stats[f"{stage}_ms"]
        if not (busy.mean and wall.mean and busy.std_repeats and wall.std_repeats):
            continue
        device, whole = busy.std_repeats / busy.mean, wall.std_repeats / wall.mean
        if device < HOST_LIMIT * whole:
            yield (
                f"between repeats the device's busy time of {stage} varies by {percent(device)}, "
                f"{stage} itself by {percent(whole)}: the host causes it"
            )


def more_repeats(facts: Facts) -> Iterable[Recommendation]:
    """Too few repeats to estimate the spread."""
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
