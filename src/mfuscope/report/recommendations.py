"""What to try next: one rule per function, each from measured facts to what they suggest.

A rule fires or not by its numbers alone. It quotes them, and says the most that following it could
take off a page's time: the bound that the measurement gives, not a promise.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mfuscope.report.checks import CV_LIMIT, unsteady
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.formats import milliseconds, number, percent, plural
from mfuscope.report.limits import StageFacts, StageName, stage_facts
from mfuscope.report.operators import StageOperators
from mfuscope.report.words import CENTRES, name_in_sentence

#: A recommendation that could gain less than this share of a page's time is not made.
LEAST_GAIN = 0.01
#: Device time outside of matrix products, from which fusing it is worth a thought.
ELEMENTWISE_LIMIT = 0.4
#: Part of prefill from which its vision encoder is said to dominate it.
VISION_LIMIT = 0.5
#: Compute capability from which tensor cores take FP8.
FP8_CAPABILITY = (8, 9)

_MATRIX_WORK = ("mm", "conv", "attention", "linear", "matmul", "baddbmm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What a rule suggests.

    `gain_ms` is the most that it could take off a page's time; None where it makes numbers surer
    and not smaller. `plain` says it to somebody who is no engineer.
    """

    rule: str
    title: str
    text: str
    plain: str
    evidence: tuple[str, ...]
    gain_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules look at: a variant, its two stages, and their operators."""

    data: ReportData
    variant: Variant
    prefill: StageFacts
    decode: StageFacts

    def operators(self, stage: StageName) -> StageOperators | None:
        """The stage's operators, None where the traces have none."""
        return self.data.operators_of(self.variant.name, stage)


def recommend(data: ReportData, variant: Variant) -> list[Recommendation]:
    """All that the facts suggest: the largest possible gain first, what steadies numbers last."""
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
    return sorted(worth, key=lambda one: -(one.gain_ms if one.gain_ms is not None else -1.0))


def launch_bound(facts: Facts) -> Iterable[Recommendation]:
    """The device waits for launches: launch once, or give each launch more to do."""
    for stage, unit in ((facts.decode, "decode step"), (facts.prefill, "prefill")):
        if stage.kind != "launch" or stage.busy_share is None or stage.idle_ms is None:
            continue
        evidence = [
            f"the device is at work for {percent(stage.busy_share)} of {stage.stage} "
            f"({milliseconds(stage.busy_ms or 0)} of {milliseconds(stage.ms)})"
        ]
        mostly = ""
        if stage.stage == "prefill" and facts.variant.parts_known:
            part = next(c for c in facts.variant.centres if CENTRES[c.key].stage == "prefill")
            mostly = name_in_sentence(part.key)
            evidence.append(f"the largest part of prefill is {mostly}, {milliseconds(part.ms)}")
        if stage.kernels:
            evidence.append(f"{number(stage.kernels)} kernels are launched per {unit}")
        how = (
            'a static KV cache with torch.compile(mode="reduce-overhead") captures it; other '
            "pages decoded at the same time could use the idle device as well"
            if stage.stage == "decode"
            else "its shapes are fixed for a resolution, so that one captured graph per "
            "resolution serves all pages"
        )
        yield Recommendation(
            rule="launch_bound",
            title=f"Launch {stage.stage} as CUDA graphs, or compile it",
            text=f"The host launches kernels more slowly than the device finishes them. Capture "
            f"a {unit} once and replay it: {how}. Code that reads a device value on the host "
            "(.item(), shapes that depend on data) breaks a capture and has to go first.",
            plain=f"Let the computer prepare the work of {stage.stage}"
            f"{f' (first of all {mostly})' if mostly else ''} once and replay it, so "
            "that the accelerator need not wait for every small instruction (engineers call this "
            "CUDA graphs or compilation).",
            evidence=tuple(evidence),
            gain_ms=stage.idle_ms,
        )


def memory_bound_decode(facts: Facts) -> Iterable[Recommendation]:
    """Decode waits for memory: read fewer bytes, or use what was read for several pages."""
    stats, stage = facts.variant.stats, facts.decode
    weights = stats["decode_weight_gb_per_token"].mean
    cache = stats["decode_kv_gb_per_token"].mean
    if stage.kind != "memory" or weights is None or cache is None or stage.memory_share is None:
        return
    at_work = stage.ms if stage.busy_ms is None else min(stage.busy_ms, stage.ms)
    bandwidth = f"decode moves data at {percent(stage.memory_share)} of the measured bandwidth"
    reads = f"a step reads {number(weights)} GB of weights and {number(cache)} GB of KV cache"
    if facts.variant.model.dtype in ("bf16", "fp16"):
        yield Recommendation(
            rule="quantise_weights",
            title="Quantise the weights to 8 bits",
            text="Decode is as fast as its weights are read. Weights of half the size take half "
            "the time to read; check on known pages that the text stays right.",
            plain="Store the model's numbers in a more compact form, which makes each word of the "
            "answer faster to produce; the quality of the text must be checked.",
            evidence=(bandwidth, reads),
            gain_ms=at_work * 0.5 * weights / (weights + cache),
        )
    yield Recommendation(
        rule="batch_pages",
        title="Decode several pages at once",
        text="One reading of the weights then serves a token of every page. It shortens the time "
        "per page of a batch, not that of a single page.",
        plain="Work on several pages at the same time, so that the effort of fetching the model's "
        "numbers is shared between them.",
        evidence=(bandwidth, reads),
        gain_ms=at_work * weights / (weights + cache),
    )
    if cache > 0.3 * (weights + cache):
        yield Recommendation(
            rule="quantise_cache",
            title="Quantise the KV cache, or keep less of it",
            text="The KV cache is a large part of what a step reads: an 8-bit cache halves it; "
            "fewer image tokens (a smaller resolution mode) shorten it.",
            plain="Keep the model's memory of the page in a more compact form.",
            evidence=(bandwidth, reads),
            gain_ms=at_work * 0.5 * cache / (weights + cache),
        )


def compute_bound(facts: Facts) -> Iterable[Recommendation]:
    """Arithmetic is near what the device can do: ask for less of it, or for a cheaper kind."""
    for stage in (facts.prefill, facts.decode):
        if stage.kind != "compute" or stage.compute_share is None:
            continue
        evidence = (
            f"{stage.stage} computes at {percent(stage.compute_share)} of the fastest matrix "
            "product measured on this device",
        )
        capability = facts.data.hardware.device.compute_capability
        fp8 = capability is not None and tuple(map(int, capability.split("."))) >= FP8_CAPABILITY
        if fp8 and facts.variant.model.dtype in ("bf16", "fp16"):
            yield Recommendation(
                rule="lower_precision",
                title=f"Compute {stage.stage} in FP8",
                text="The device's FP8 peak is twice that of 16-bit arithmetic. It is the kernels "
                "that work already: only less, or cheaper, arithmetic makes them shorter. Check on "
                "known pages that the text stays right.",
                plain="Let the accelerator calculate with shorter numbers, of which it can process "
                "twice as many; the quality of the text must be checked.",
                evidence=evidence,
                gain_ms=stage.ms / 2,
            )
        if stage.stage == "prefill":
            yield Recommendation(
                rule="fewer_tokens",
                title="Give prefill less to do: a smaller resolution mode, or fewer tiles",
                text="Its time follows from pixels and prompt tokens. Check on known pages that "
                "the text stays right.",
                plain="Show the model a smaller picture of each page; the quality of the text must "
                "be checked.",
                evidence=evidence,
                gain_ms=stage.ms,
            )


def vision_dominates(facts: Facts) -> Iterable[Recommendation]:
    """Most of prefill is the vision encoder, at work: fewer pixels shorten it."""
    vision, prefill = facts.variant.stats["vision_ms"].mean, facts.prefill
    if not vision or not prefill.ms or vision < VISION_LIMIT * prefill.ms:
        return
    if prefill.kind in ("launch", "compute"):
        return  # fewer pixels are no fewer launches; and compute_bound says it already
    yield Recommendation(
        rule="vision_resolution",
        title="Try a smaller resolution mode: the vision encoder dominates prefill",
        text="Its work follows from the number of pixels that it is given (global view and "
        "tiles). Check on known pages that the text stays right.",
        plain="Show the model a smaller picture of each page; the quality of the text must be "
        "checked.",
        evidence=(
            f"the vision encoder takes {percent(vision / prefill.ms)} of prefill "
            f"({milliseconds(vision)} of {milliseconds(prefill.ms)})",
        ),
        gain_ms=vision,
    )


def small_kernels(facts: Facts) -> Iterable[Recommendation]:
    """The device is at work, far below both roofs: fuse what is no matrix product."""
    for stage in (facts.prefill, facts.decode):
        operators = facts.operators(stage.stage)
        if stage.kind != "kernels" or operators is None:
            continue
        total = operators.device_ms if operators.on_device else operators.self_cpu_ms
        other = [row for row in operators.rows if not _is_matrix_work(row.name)]
        times = [row.device_ms if operators.on_device else row.self_cpu_ms for row in other]
        rest = sum(time for time in times if time)
        if not total or rest < ELEMENTWISE_LIMIT * total:
            continue
        what = "device time" if operators.on_device else "CPU time"
        top = [row.name for row in other[:3]]
        calls = sum(row.calls for row in operators.rows if row.kind == "operator")
        at_work = stage.ms if stage.busy_ms is None else min(stage.busy_ms, stage.ms)
        reached = f"{percent(stage.compute_share or 0)} of the measured arithmetic"
        if stage.memory_share is not None:
            reached += f" and {percent(stage.memory_share)} of the measured bandwidth"
        yield Recommendation(
            rule="fuse",
            title=f"Fuse {stage.stage}'s small operators (torch.compile)",
            text="Much of the time goes into operators other than matrix products, "
            "convolutions and attention: copies, casts, element-wise arithmetic. Fusing them, or "
            "leaving conversions out, saves their trips to memory and their calls.",
            plain=f"Combine the many small steps of {stage.stage} into fewer, larger ones "
            "(engineers call this fusing or compiling).",
            evidence=(
                f"{percent(rest / total)} of {stage.stage}'s {what} is no matrix product, "
                f"convolution or attention, first of all {', '.join(top)}",
                f"{number(calls)} operator calls in a traced {stage.stage}",
                f"{stage.stage} reaches {reached}",
            ),
            gain_ms=at_work * rest / total,
        )


def steady_clocks(facts: Facts) -> Iterable[Recommendation]:
    """Repeats differ: hold the device's clocks, or quieten the host."""
    name = facts.variant.name
    shaky = [one for one in unsteady(facts.data) if one.variant == name]
    throttled = sum(len(runs) for (v, _), runs in facts.data.survey.throttled.items() if v == name)
    if throttled:
        yield Recommendation(
            rule="throttling",
            title="Cool or power the device so that it keeps its clocks",
            text="It held its clocks down during some runs, whose times are then those of a slower "
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
        else "Nothing was recorded on the device that explains the spread, so look at the host: "
        "other processes, CPU frequency scaling, cores shared with neighbours. Pin the process to "
        "cores of its own, and repeat more often.",
        plain="The same page took clearly different times: repeat the measurement on a quieter "
        "machine before relying on small differences.",
        evidence=(
            f"{worst.stage} of {worst.image} varies by {percent(worst.stat.cv or 0)} between "
            f"repeats; {plural(len(shaky), 'time')} of a stage by more than {percent(CV_LIMIT)}",
            f"recorded on the device: {'; '.join(causes) or 'no cause'}",
        ),
        gain_ms=None,
    )


def more_repeats(facts: Facts) -> Iterable[Recommendation]:
    """Too few repeats to know a spread."""
    if facts.data.repeats < 3:
        yield Recommendation(
            rule="repeats",
            title="Measure each page at least three times",
            text="Set `repeats: 3` or more: with fewer, the spread is not known well enough to "
            "tell a difference from noise.",
            plain="Measure each page at least three times, so that it is known how sure the "
            "numbers are.",
            evidence=(f"{plural(facts.data.repeats, 'repeat')} per page",),
            gain_ms=None,
        )


RULES: tuple[Callable[[Facts], Iterable[Recommendation]], ...] = (
    launch_bound,
    memory_bound_decode,
    compute_bound,
    vision_dominates,
    small_kernels,
    steady_clocks,
    more_repeats,
)


def _is_matrix_work(operator: str) -> bool:
    name = operator.rpartition("::")[2]
    return any(part in name for part in _MATRIX_WORK)
