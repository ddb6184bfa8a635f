"""The report's sentences, composed from the data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath

from mfuscope.core.records import Hardware
from mfuscope.report.data import Answer, ReportData, Variant
from mfuscope.report.formats import count, listing, milliseconds, number, percent, plural, size

#: Bundled models that stand in for a full-size one.
STAND_INS = {"deepseek-ocr-nano": "DeepSeek-OCR"}


@dataclass(frozen=True, slots=True)
class Centre:
    """Name and stage of a cost centre, and its work in words without technical terms."""

    name: str
    stage: str
    work: str


CENTRES = {
    "vision": Centre(
        "vision encoder",
        "prefill",
        "looking at the page and turning its pixels into features for the language model",
    ),
    "projector": Centre(
        "projector",
        "prefill",
        "fitting the vision encoder's features to the language model",
    ),
    "language": Centre(
        "language prefill",
        "prefill",
        "reading the page's features and the instruction, all at once",
    ),
    "rest": Centre(
        "rest of prefill",
        "prefill",
        "the work between the main parts of prefill: preparing, merging image and text, and the "
        "output layer",
    ),
    "prefill": Centre(
        "prefill",
        "prefill",
        "taking in the page and the instruction, up to the first token of the answer",
    ),
    "decode": Centre("decode", "decode", "writing the answer, one token after the other"),
}


def title(data: ReportData) -> str:
    """Models and device."""
    models = list(dict.fromkeys(variant.model.name for variant in data.variants))
    return f"{listing(models)} on {data.hardware.device.name}"


def subtitle(data: ReportData) -> str:
    """What was measured and when, on one line."""
    pages, variants = len(data.pages), len(data.variants)
    made = [plural(pages, "page"), plural(data.repeats, "repeat"), plural(variants, "variant")]
    return f"{' × '.join(made[: 2 if variants == 1 else 3])}, {data.survey.last[:10]}"


def name_in_sentence(key: str) -> str:
    """A cost centre's name within a sentence."""
    return {
        "vision": "the vision encoder",
        "projector": "the projector",
        "language": "the language model's prefill",
        "rest": "what runs between prefill's parts",
    }.get(key, key)


def answer_text(answer: Answer) -> str:
    """The length of the answers: ``64 new tokens``, ``12 to 64 new tokens``."""
    fewest = "" if answer.least == answer.most else f"{answer.least:,} to "
    return f"{fewest}{plural(answer.most, 'new token')}"


def page_of(variant: Variant) -> str:
    """A page with the length of its answer."""
    return f"a page of {answer_text(variant.answer)}"


def a_page(variant: Variant) -> str:
    """What the times of a variant are of: a page, or a batch of copies, and the answer's length."""
    copies = variant.batch_size
    return page_of(variant) if copies == 1 else f"a batch of {copies} copies of {page_of(variant)}"


def answers(data: ReportData) -> str:
    """The lengths of the answers of all variants."""
    return per_variant(data, lambda variant: answer_text(variant.answer))


def time_sentence(variant: Variant) -> str:
    """Where the time of a page goes: its stages, the longer one first, and prefill's parts."""
    prefill, decode = variant.prefill_ms, variant.decode_ms
    stages = [f"{milliseconds(decode)} in decode", f"{milliseconds(prefill)} in prefill"]
    if prefill > decode:
        stages.reverse()
    parts = [c for c in variant.centres if CENTRES[c.key].stage == "prefill"]
    sentence = (
        f"On average {a_page(variant)} takes {milliseconds(variant.page_ms)}: {listing(stages)}"
    )
    if not variant.parts_known or not prefill:
        return f"{sentence}. The parts of prefill are not known separately."
    return (
        f"{sentence}. The largest part of prefill is {name_in_sentence(parts[0].key)}: "
        f"{milliseconds(parts[0].ms)}, {percent(parts[0].ms / prefill)} of prefill."
    )


def dummy_statement(data: ReportData) -> str:
    """A statement about dummy weights; empty without any."""
    dummies = [v.name for v in data.variants if v.model.weights == "dummy"]
    if not dummies:
        return ""
    which = "" if len(dummies) == len(data.variants) else f" of {_variants(dummies)}"
    return (
        f"Dummy weights{which}: random numbers in the model's own shapes. Times and "
        "FLOPs hold, as they follow from the shapes; the text that the model writes is "
        "meaningless."
    )


def gaps_statement(data: ReportData) -> str:
    """A statement about missing runs and skipped pages; empty without any."""
    gaps = []
    if data.missing:
        whole = data.survey.total + len(data.missing)
        gaps.append(f"{len(data.missing)} of {plural(whole, 'run')} failed or never started")
    if data.skipped:
        gaps.append(f"{plural(len(data.skipped), 'page')} could not be read and was left out")
        if len(data.skipped) > 1:
            gaps[-1] = gaps[-1].replace(" was left", " were left")
    if not gaps:
        return ""
    return f"Not everything was measured: {listing(gaps)}. All figures leave these out."


def stand_in_statement(data: ReportData) -> str:
    """A statement if a small stand-in or a CPU was measured; else empty."""
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
        sentences.append(f"The model is a small stand-in for {real}{which}, not {real} itself.")
    if on_cpu:
        sentences.append("It ran on a CPU, not on an accelerator.")
    if sentences:
        sentences.append(
            "The report shows how mfuscope measures; its times say nothing about the real model on "
            "a GPU."
            if small
            else "Its times say nothing about a GPU."
        )
    return " ".join(sentences)


def _variants(names: list[str]) -> str:
    return f"{'variant' if len(names) == 1 else 'variants'} {listing(names)}"


def per_variant(data: ReportData, of: Callable[[Variant], str]) -> str:
    """A fact of the variants: once if they agree, else each with the variants' names."""
    values: dict[str, list[str]] = {}
    for variant in data.variants:
        values.setdefault(of(variant), []).append(variant.name)
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in values.items())


def facts(data: ReportData) -> list[tuple[str, str]]:
    """Facts about device, model and runs, as (label, text)."""
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
                lambda v: (
                    "dummy (seeded random numbers)"
                    if v.model.weights == "dummy"
                    else f"{v.model.weights}{_packed(v)}"
                ),
            ),
        ),
        ("Precision", _precision(data)),
        ("Attention", per_variant(data, lambda v: _attention(data, v))),
        ("Answers", per_variant(data, _answers_and_mean)),
        (
            "Measured",
            f"{plural(pages, 'page')} × {plural(data.repeats, 'repeat')} × "
            f"{plural(variants, 'variant')} = {plural(survey.total, 'run')}",
        ),
        ("When", dates(data)),
    ]


def _packed(variant: Variant) -> str:
    """How the weights are quantised, and in which precision they are multiplied."""
    one = variant.model.quantisation
    if one is None:
        return ""
    return (
        f", linear layers in {one.bits} bits ({one.method} {one.scheme}), multiplied in "
        f"{variant.model.dtype}"
    )


def _answers_and_mean(variant: Variant) -> str:
    answer = variant.answer
    mean = "" if answer.least == answer.most else f", mean {number(answer.mean)}"
    return f"{answer_text(answer)}{mean}"


def _attention(data: ReportData, variant: Variant) -> str:
    asked = data.settings.get("asked", {}).get(variant.name, {}).get("attention")
    return f"{variant.model.attention}{' (what auto picked)' if asked else ''}"


def _precision(data: ReportData) -> str:
    dtypes = per_variant(data, lambda v: v.model.dtype)
    if dtypes == data.hardware.precision:
        return f"{dtypes} ({data.hardware.precision_reason})"
    return dtypes


def dates(data: ReportData) -> str:
    """From the first to the last measurement, UTC."""
    first, last = (
        stamp.replace("T", " ").removesuffix("Z") for stamp in (data.survey.first, data.survey.last)
    )
    if first == last:
        return f"{first} UTC"
    same_day = first.split()[0] == last.split()[0]
    return f"{first} to {last.split()[-1] if same_day else last} UTC"


def peak_statement(hardware: Hardware, dtypes: Iterable[str]) -> str:
    """The source of the peak that MFU refers to, and its limits."""
    sources = {hardware.peaks[dtype].source for dtype in dtypes}
    sentences = {
        "measured": (
            "Here the peak is the best matrix product measured on this device, not a theoretical "
            "one. Such an MFU may exceed 100 %, and does not compare with one against a data "
            "sheet's peak."
        ),
        "estimated": (
            "The device is not in the table of peaks: its peak is estimated from its clock and its "
            "number of SMs. MFU is as uncertain as that estimate."
        ),
        "override": "The peak is the setting peak_tflops, unchecked.",
        "table": "The peak is the theoretical dense one from the table of devices.",
    }
    return " ".join(text for source, text in sentences.items() if source in sources)
