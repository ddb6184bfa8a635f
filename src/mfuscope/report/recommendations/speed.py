"""Rules that shorten a page's time. Each gain is the upper bound that the measurement gives."""

from collections.abc import Iterable

from mfuscope.report.formats import milliseconds, number, percent
from mfuscope.report.limits import StageFacts, waiting_words
from mfuscope.report.recommendations import cures
from mfuscope.report.recommendations.bounds import batch_bound
from mfuscope.report.recommendations.kinds import expert_gathers, other_work, time_ms
from mfuscope.report.recommendations.rule import Facts, Recommendation
from mfuscope.report.wording import CENTRES, name_in_sentence

#: Idle share of a stage from which CUDA graphs or compilation are recommended.
IDLE_LIMIT = 0.1

#: Time share of operators other than matrix products from which fusing is recommended.
ELEMENTWISE_LIMIT = 0.4

#: Share of prefill from which the vision encoder is said to dominate it.
VISION_LIMIT = 0.5

#: Share of a decode step's reads from which quantising the KV cache is recommended.
CACHE_LIMIT = 0.3

#: Compute capability from which tensor cores support FP8.
FP8_CAPABILITY = (8, 9)


def launches(facts: Facts) -> Iterable[Recommendation]:
    """The device waits for the host: capture the launches once, or make each one larger."""
    for stage, unit in ((facts.decode, "decode step"), (facts.prefill, "prefill")):
        idle, share = stage.idle_ms, stage.busy_share
        if idle is None or share is None or idle < IDLE_LIMIT * stage.ms:
            continue
        evidence = [
            f"the device is busy for {percent(share)} of {stage.stage} "
            f"({milliseconds(stage.busy_ms or 0)} of {milliseconds(stage.ms)})"
        ]
        first = ""
        if stage.stage == "prefill" and facts.variant.parts_known:
            part = next(c for c in facts.variant.centres if CENTRES[c.key].stage == "prefill")
            first = f" (first of all {name_in_sentence(part.key)})"
            evidence.append(
                f"the largest part of prefill is {name_in_sentence(part.key)}, "
                f"{milliseconds(part.ms)}"
            )
        if stage.kernels:
            evidence.append(f"{number(stage.kernels)} kernels are launched per {unit}")
        if waits := waiting_words(stage):
            evidence.append(f"of the device's wait for the host, {waits}")
        if stage.stage == "decode" and cures.is_compiled(facts, "decode"):
            yield _between_replays(stage, idle, evidence)
            continue
        which: str = stage.stage
        if stage.stage == "prefill" and cures.is_compiled(facts, "prefill"):
            which = "the rest of prefill"
            evidence.append("the vision encoder is compiled already")
        how = (
            'a static KV cache with torch.compile(mode="reduce-overhead") does that'
            if stage.stage == "decode"
            else "one captured graph serves all pages of a resolution, as their shapes are the same"
        )
        yield Recommendation(
            rule="launches",
            title=f"Launch {which} as CUDA graphs, or compile it",
            text="The device finishes kernels faster than the host launches them. Capture a "
            f"{unit} once and replay it: {how}. First remove code that reads device values on the "
            "host (.item(), data-dependent shapes): it breaks the capture.",
            plain=f"Let the computer prepare the work of {stage.stage}{first} once and replay it, "
            "so that the accelerator need not wait for every small instruction (engineers call "
            "this CUDA graphs or compilation).",
            evidence=tuple(evidence),
            gain_ms=idle,
            metric=f"{stage.stage}_ms",
            cure=cures.compiled(facts, stage.stage),
        )


def _between_replays(stage: StageFacts, idle_ms: float, evidence: list[str]) -> Recommendation:
    """What is left where a step's kernels are one graph: the host's work between two replays."""
    return Recommendation(
        rule="between_replays",
        title="Shorten the host's work between two decode steps",
        text="The device waits from the end of one step's graph to the launch of the next. "
        "Meanwhile the host chooses the token and does the bookkeeping of generate(): logits "
        "processors, stopping criteria, the copy of the token. Keep the choice of the token on the "
        "device, or launch the next step before the bookkeeping of the last one.",
        plain="Let the computer do less between two words of the answer, as the accelerator waits "
        "for it.",
        evidence=tuple(evidence),
        gain_ms=idle_ms,
        metric="decode_ms",
    )


def memory_bound_decode(facts: Facts) -> Iterable[Recommendation]:
    """Decode waits for memory: read fewer bytes, or share reads between pages."""
    stats, stage = facts.variant.stats, facts.decode
    weights = stats["decode_weight_gb_per_token"].mean
    cache = stats["decode_kv_gb_per_token"].mean
    if stage.kind != "memory" or weights is None or cache is None or stage.memory_share is None:
        return
    at_work = stage.at_work_ms
    copies = facts.variant.batch_size  # the step of a batch makes a token of each
    bandwidth = f"decode moves data at {percent(stage.memory_share)} of the measured bandwidth"
    reads = (
        f"a step reads {number(copies * weights)} GB of weights and {number(copies * cache)} GB of "
        "KV cache"
    )
    plain = facts.variant.model.quantisation is None
    if plain and facts.variant.model.dtype in ("bf16", "fp16"):
        yield Recommendation(
            rule="quantise_weights",
            title="Quantise the weights to 8 bits",
            text="Decode is as fast as it reads its weights, and 8-bit weights take half the time "
            "to read. Check on known pages that the text stays right.",
            plain="Store the model's numbers in a more compact form, which makes each word of the "
            "answer faster to produce; the quality of the text must be checked.",
            evidence=(bandwidth, reads),
            gain_ms=at_work * 0.5 * weights / (weights + cache),
            metric="decode_ms",
        )
    yield Recommendation(
        rule="batch_pages",
        title="Decode several pages at once",
        text="One read of the weights then serves a token of every page. A batch completes more "
        "pages a second; a single page gets no faster.",
        plain="Work on several pages at the same time, so that the effort of fetching the model's "
        "numbers is shared between them.",
        evidence=(bandwidth, reads),
        gain_ms=batch_bound(facts),
        metric="page_ms",
        cure=cures.batch(facts),
    )
    if cache > CACHE_LIMIT * (weights + cache):
        yield Recommendation(
            rule="quantise_cache",
            title="Quantise the KV cache, or keep less of it",
            text="The KV cache is a large part of what a step reads. An 8-bit cache halves it; "
            "fewer image tokens (a smaller resolution mode) shorten it.",
            plain="Keep the model's memory of the page in a more compact form.",
            evidence=(bandwidth, reads),
            gain_ms=at_work * 0.5 * cache / (weights + cache),
            metric="decode_ms",
        )


def compute_bound(facts: Facts) -> Iterable[Recommendation]:
    """Arithmetic is near the device's limit: reduce it, or use a lower precision."""
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
                text="The kernels are efficient already, so only less or cheaper arithmetic "
                "shortens them. The device's FP8 peak is twice the 16-bit one. Check on known "
                "pages that the text stays right.",
                plain="Let the accelerator calculate with shorter numbers, of which it can process "
                "twice as many; the quality of the text must be checked.",
                evidence=evidence,
                gain_ms=stage.at_work_ms / 2,
                metric=f"{stage.stage}_ms",
            )
        if stage.stage == "prefill" and not cures.is_smallest(facts):
            gain, seen = _smallest(facts, "prefill_ms")
            yield Recommendation(
                rule="fewer_tokens",
                title="Reduce prefill: a smaller resolution mode, or fewer tiles",
                text="The time of prefill follows from pixels and prompt tokens. Check on known "
                "pages that the text stays right.",
                plain="Show the model a smaller picture of each page; the quality of the text must "
                "be checked.",
                evidence=(*evidence, *seen),
                gain_ms=gain,
                metric="prefill_ms",
                cure=cures.fewer_pixels(facts),
            )


def vision_dominates(facts: Facts) -> Iterable[Recommendation]:
    """The vision encoder takes most of prefill: fewer pixels shorten it."""
    vision, prefill = facts.variant.stats["vision_ms"].mean, facts.prefill
    if not vision or not prefill.ms or vision < VISION_LIMIT * prefill.ms:
        return
    if prefill.kind in ("host", "compute") or cures.is_smallest(facts):
        return  # fewer pixels need as many launches; compute_bound recommends it already
    gain, seen = _smallest(facts, "vision_ms")
    yield Recommendation(
        rule="vision_resolution",
        title="Try a smaller resolution mode: the vision encoder dominates prefill",
        text="The encoder's work follows from the pixels of global view and tiles. Check on known "
        "pages that the text stays right.",
        plain="Show the model a smaller picture of each page; the quality of the text must be "
        "checked.",
        evidence=(
            f"the vision encoder takes {percent(vision / prefill.ms)} of prefill "
            f"({milliseconds(vision)} of {milliseconds(prefill.ms)})",
            *seen,
        ),
        gain_ms=gain,
        metric="vision_ms",
        cure=cures.fewer_pixels(facts),
    )


def _smallest(facts: Facts, metric: str) -> tuple[float | None, tuple[str, ...]]:
    """Gain in ms if all pages took as long as those of the fastest resolution, and its evidence.

    The gain is None if only one resolution was measured.
    """
    times: dict[str, list[float]] = {}
    for page in facts.data.pages:
        for one in page.measured:
            ms = one.stats[metric].mean
            if one.variant == facts.variant.name and ms is not None:
                times.setdefault(one.resolution, []).append(ms)
    mean = facts.variant.stats[metric].mean
    if len(times) < 2 or mean is None:
        return None, ("only one resolution was measured, so the gain is not known",)
    means = {resolution: sum(found) / len(found) for resolution, found in times.items()}
    cheapest = min(means, key=means.__getitem__)
    part = "prefill" if metric == "prefill_ms" else "it"
    return mean - means[cheapest], (
        f"at {cheapest}, the cheapest resolution here, {part} takes "
        f"{milliseconds(means[cheapest])}",
    )


def small_operators(facts: Facts) -> Iterable[Recommendation]:
    """Far below both roofs: fuse small operators, or make matrix products larger."""
    small: list[str] = []
    for stage in (facts.prefill, facts.decode):
        operators = facts.operators(stage.stage)
        if stage.kind not in ("kernels", "host") or operators is None:
            continue
        total = operators.device_ms if operators.on_device else operators.self_cpu_ms
        other = other_work(facts, operators)
        rest = time_ms(operators, other)
        products = 1 - (rest + time_ms(operators, expert_gathers(facts, operators))) / (total or 1)
        if not total:
            continue
        compute = stage.compute_share
        reached = "an unknown share" if compute is None else percent(compute)
        reached = f"{stage.stage} reaches {reached} of the measured arithmetic"
        if stage.memory_share is not None:
            least = "" if stage.traffic_counted else "at least "
            reached += f" and {least}{percent(stage.memory_share)} of the measured bandwidth"
        if operators.on_device:
            reached += " while the device is busy"
        what = "device time" if operators.on_device else "CPU time"
        after = (
            f" While {stage.stage} is host-bound, less of this gain shows."
            if stage.kind == "host"
            else ""
        )
        if rest >= ELEMENTWISE_LIMIT * total and not cures.is_compiled(facts, stage.stage):
            yield Recommendation(
                rule="fuse",
                title=f"Fuse {stage.stage}'s small operators (torch.compile)",
                text="Much of the time goes into copies, casts and element-wise arithmetic. Fusing "
                "them, or leaving conversions out, saves memory traffic and launches."
                f"{after}",
                plain=f"Combine the many small steps of {stage.stage} into fewer, larger ones "
                "(engineers call this fusing or compiling).",
                evidence=(
                    f"{percent(rest / total)} of {stage.stage}'s {what} goes into operators other "
                    "than matrix products, convolutions and attention; the longest: "
                    f"{', '.join(row.name for row in other[:3])}",
                    reached,
                ),
                gain_ms=stage.at_work_ms * rest / total,
                metric=f"{stage.stage}_ms",
                cure=cures.compiled(facts, stage.stage),
            )
        elif rest < ELEMENTWISE_LIMIT * total and stage.kind == "kernels":
            small += [
                f"{percent(products)} of {stage.stage}'s {what} goes into matrix products, "
                "convolutions and attention",
                reached,
            ]
    if small:  # once, as a batch does it for both stages
        yield Recommendation(
            rule="larger_products",
            title="Make matrix products larger: several pages at once",
            text="Most of the time goes into matrix products that are too small to reach "
            "either roof. A batch makes them larger and completes more pages a second; a "
            "single page gets no faster.",
            plain="Work on several pages at the same time, which uses the device better.",
            evidence=tuple(small),
            gain_ms=batch_bound(facts),
            metric="page_ms",
            cure=cures.batch(facts),
        )
