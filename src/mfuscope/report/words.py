"""Sentences, made from the data: another bottleneck gives another text."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath

from mfuscope.records import Hardware
from mfuscope.report.data import CostCentre, ReportData, Variant
from mfuscope.report.formats import count, listing, milliseconds, number, percent, plural, size

#: Bundled models that only stand in for the one they are cut down from.
STAND_INS = {"deepseek-ocr-nano": "DeepSeek-OCR"}

_EVEN = 0.05  # prefill and decode within half and half by this much are said to be even


@dataclass(frozen=True, slots=True)
class Centre:
    """What a reader is told of a cost centre: `work` for everybody, `advice` on what next."""

    name: str
    stage: str
    work: str
    advice: str


CENTRES = {
    "vision": Centre(
        "vision encoder",
        "prefill",
        "looking at the page: turning its pixels into features that the language model can read",
        "Try a smaller resolution mode, and check on known pages that the text stays right: the "
        "work of the vision encoder follows from the number of pixels that it is given.",
    ),
    "projector": Centre(
        "projector",
        "prefill",
        "translating what the vision encoder saw into the language model's vocabulary of features",
        "This part is small in FLOPs, so that its time deserves a look at its operators before "
        "anything else is changed.",
    ),
    "language": Centre(
        "language prefill",
        "prefill",
        "reading the prompt: the language model takes in the page and the instruction at once",
        "Fewer image tokens (a smaller resolution mode, fewer tiles) shorten it; check on known "
        "pages that the text stays right.",
    ),
    "rest": Centre(
        "rest of prefill",
        "prefill",
        "what happens between the main parts of prefill: preparing, merging image and text, and "
        "the output layer",
        "None of it is in the model's main parts: open a trace of one run, and see what runs "
        "between them.",
    ),
    "prefill": Centre(
        "prefill",
        "prefill",
        "taking in the page and the instruction, up to the first token of the answer",
        "The parts of this model are not told apart: a trace of one run shows what prefill "
        "consists of.",
    ),
    "decode": Centre(
        "decode",
        "decode",
        "writing the answer, one token after the other",
        "Look at what one decode step consists of (operators.md): each token costs a whole step. "
        "Steps that are cheaper, or shared by several pages at once, are what can help; this "
        "report measures one page at a time.",
    ),
}


def name_in_sentence(key: str) -> str:
    """A cost centre as a sentence names it."""
    return {
        "vision": "the vision encoder",
        "projector": "the projector",
        "language": "the language model's prefill",
        "rest": "what runs between prefill's parts",
    }.get(key, key)


def time_sentence(variant: Variant) -> str:
    """Where the time of a page goes, in one sentence."""
    prefill, decode = variant.prefill_ms, variant.decode_ms
    share = decode / variant.page_ms if variant.page_ms else 0.0
    stages = [
        f"decode {percent(share)} ({milliseconds(decode)})",
        f"prefill {percent(1 - share)} ({milliseconds(prefill)})",
    ]
    if abs(share - 0.5) <= _EVEN:
        opening = "Decode and prefill take about the same time"
    elif share > 0.5:
        opening = "Decode dominates"
    else:
        opening = "Prefill dominates"
        stages.reverse()
    parts = [c for c in variant.centres if CENTRES[c.key].stage == "prefill"]
    sentence = (
        f"{opening}: of the {milliseconds(variant.page_ms)} that a page takes on average, "
        f"{stages[0]} and {stages[1]}"
    )
    if not variant.parts_known or not prefill:
        return f"{sentence}; prefill's parts are not told apart."
    return (
        f"{sentence}; the largest part of prefill is {name_in_sentence(parts[0].key)} "
        f"({milliseconds(parts[0].ms)}, {percent(parts[0].ms / prefill)} of prefill)."
    )


def dummy_statement(data: ReportData) -> str:
    """A plain statement where weights are dummies, empty where none are."""
    dummies = [v.name for v in data.variants if v.model.weights == "dummy"]
    if not dummies:
        return ""
    which = "" if len(dummies) == len(data.variants) else f" of {_variants(dummies)}"
    return (
        f"The weights{which} are dummies: random numbers in the model's own shapes. Times and "
        "FLOPs are meaningful, as they follow from the shapes; the text that the model writes "
        "is not."
    )


def stand_in_statement(data: ReportData) -> str:
    """A plain statement where a small stand-in or a CPU was measured, empty otherwise."""
    small = {
        v.name: STAND_INS[PurePath(v.model.name).name]
        for v in data.variants
        if PurePath(v.model.name).name in STAND_INS
    }
    on_cpu = data.hardware.device.kind == "cpu"
    sentences = []
    if small:
        real = listing(sorted(set(small.values())))
        which = "" if len(small) == len(data.variants) else f" ({_variants(list(small))})"
        sentences.append(f"What was measured is a small stand-in for {real}{which}, not {real}.")
    if on_cpu:
        sentences.append("It was measured on a CPU, not on an accelerator.")
    if sentences:
        sentences.append(
            "It shows that and how the measurement works; its times say nothing of the real "
            "model on a GPU."
            if small
            else "Its times say nothing of a GPU."
        )
    return " ".join(sentences)


def _variants(names: list[str]) -> str:
    return f"{'variant' if len(names) == 1 else 'variants'} {listing(names)}"


def per_variant(data: ReportData, of: Callable[[Variant], str]) -> str:
    """A fact that variants may differ in: once where they agree, else with their names."""
    values: dict[str, list[str]] = {}
    for variant in data.variants:
        values.setdefault(of(variant), []).append(variant.name)
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in values.items())


def facts(data: ReportData) -> list[tuple[str, str]]:
    """What was measured, on what: label and text."""
    device, survey = data.hardware.device, data.survey
    about = [device.kind.upper() if device.kind == "cpu" else "GPU"]
    if device.kind == "cpu":
        about.append(plural(device.threads, "thread"))
    if device.sm_count is not None:
        about.append(f"{device.sm_count} SMs")
    if device.compute_capability is not None:
        about.append(f"compute capability {device.compute_capability}")
    about.append(f"{size(device.memory_bytes)} memory")
    variants, pages = len(data.variants), len(data.pages)
    return [
        ("Device", f"{device.name} ({', '.join(about)})"),
        ("Model", per_variant(data, lambda v: f"{v.model.name} ({v.model.architecture})")),
        (
            "Parameters",
            per_variant(
                data, lambda v: f"{count(v.model.parameters)}, {size(v.model.weight_bytes)}"
            ),
        ),
        (
            "Weights",
            per_variant(
                data,
                lambda v: "dummies (random)" if v.model.weights == "dummy" else v.model.weights,
            ),
        ),
        ("Precision", per_variant(data, lambda v: v.model.dtype)),
        ("Attention", per_variant(data, lambda v: v.model.attention)),
        (
            "Measured",
            f"{plural(pages, 'page')} × {plural(data.repeats, 'repeat')} × "
            f"{plural(variants, 'variant')} = {plural(survey.total, 'run')}",
        ),
        ("When", dates(data)),
    ]


def dates(data: ReportData) -> str:
    """From the first to the last measurement, UTC."""
    first, last = (
        stamp.replace("T", " ").removesuffix("Z") for stamp in (data.survey.first, data.survey.last)
    )
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def peak_statement(hardware: Hardware, dtypes: Iterable[str]) -> str:
    """What MFU is held against, and how far that carries."""
    sources = {hardware.peaks[dtype].source for dtype in dtypes}
    sentences = {
        "measured": (
            "The peak is measured, not theoretical: MFU is the share of the best matrix product "
            "that this very device was seen to compute. It cannot be compared with an MFU that "
            "is held against a data sheet, and a lucky measurement may pass 100 %."
        ),
        "estimated": (
            "The device is not in the table of peaks. Its peak is estimated from its clock and "
            "its number of SMs, and MFU is as uncertain as that estimate."
        ),
        "override": "The peak was given by the setting peak_tflops, and is taken on trust.",
        "table": "The peak is the theoretical dense peak from the table of devices.",
    }
    return " ".join(text for source, text in sentences.items() if source in sources)


def interval_statement(data: ReportData) -> str:
    """Warns of intervals that reach below 0; empty where none does."""
    wide = any(
        (low := m.stats["mfu_model"].ci95_low) is not None and low < 0
        for page in data.pages
        for m in page.measured
    )
    if not wide:
        return ""
    return (
        "Some intervals reach below 0, which no MFU can be: their repeats are too few and differ "
        "too much to tell the mean. More repeats, or a quieter device, narrow them."
    )


def top_centres(variant: Variant, most: int = 3) -> list[CostCentre]:
    """The most expensive cost centres."""
    return variant.centres[:most]


def meaning(data: ReportData, variant: Variant) -> list[str]:
    """What the numbers of a variant mean, for somebody who is no engineer; one text a point."""
    top = variant.centres[0]
    centre = CENTRES[top.key]
    points = [
        f"Most of the time, {percent(top.share)} of it, goes into {centre.work}. If this part "
        f"cost nothing at all, a page would take {milliseconds(variant.page_ms - top.ms)} instead "
        f"of {milliseconds(variant.page_ms)}: no work on it can bring more than that.",
    ]
    busy = _device_share(data, variant, centre.stage)
    if busy is not None:
        points.append(busy)
    mfu = variant.headline["mfu_model"].mean
    if mfu is not None:
        peak = data.hardware.peaks[variant.model.dtype]
        best = (
            "the best calculation that it was seen to do"
            if peak.source == "measured"
            else "its theoretical best"
        )
        points.append(
            f"While it worked on a page, the device did {percent(mfu)} of the arithmetic of "
            f"{best} (this share is called MFU). The rest of its capacity was not used."
        )
    points.append(_certainty(data, variant))
    return points


def _device_share(data: ReportData, variant: Variant, stage: str) -> str | None:
    operators = data.operators_of(variant.name, stage)
    timed = variant.decode_ms if stage == "decode" else variant.prefill_ms
    if operators is None or operators.device_ms is None or not timed:
        return None
    return (
        f"In {stage}, everything that the accelerator itself computed adds up to "
        f"{milliseconds(operators.device_ms)} of {milliseconds(timed)}; in the time that remains "
        "it mostly waited for its next piece of work."
        if operators.device_ms < 0.5 * timed
        else f"In {stage}, everything that the accelerator itself computed adds up to "
        f"{milliseconds(operators.device_ms)} of {milliseconds(timed)}: it was at work most of the time."
    )


def _certainty(data: ReportData, variant: Variant) -> str:
    spreads = [
        cv
        for page in data.pages
        for m in page.measured
        if m.variant == variant.name
        for metric in ("prefill_ms", "decode_ms")
        if (cv := m.stats[metric].cv) is not None
    ]
    if not spreads:
        return "Each page was measured once, so how much these numbers vary is not known."
    worst = max(spreads)
    text = f"Measuring the same page again gave times that differ by up to {percent(worst)}"
    if worst > 0.1:
        return f"{text}: too much to read anything into small differences."
    return f"{text}: smaller differences than that mean nothing."


def comparison(data: ReportData) -> list[str]:
    """One sentence per variant after the first: its time beside the first's."""
    first, *others = data.variants
    sentences = []
    for other in others:
        ratio = other.page_ms / first.page_ms if first.page_ms else 1.0
        top = other.centres[0]
        sentences.append(
            f"{other.name}: {milliseconds(other.page_ms)} a page, {number(ratio)} times as long "
            f"as {first.name}; most of it is {CENTRES[top.key].name} ({percent(top.share)})."
        )
    return sentences


def next_steps(data: ReportData, variant: Variant) -> list[str]:
    """What to do next: where the picture is not the real thing, first that; then the bottleneck."""
    steps = []
    if stand_in_statement(data):
        steps.append("Measure the full model on the accelerator that it will run on.")
    if data.repeats < 3:
        steps.append("Measure each page at least three times, so that the spread is known.")
    for centre in variant.centres[:2]:
        if centre.share >= 0.2:
            text = CENTRES[centre.key]
            steps.append(f"{text.name.capitalize()} ({percent(centre.share)}): {text.advice}")
    return steps
