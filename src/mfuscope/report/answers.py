"""Answers of other lengths: what a page would take, and which share of it decode.

An extrapolation: a page of n new tokens takes prefill + (n - 1) x TPOT, as prefill makes the first
token. TPOT stays that of the measured length, though a step grows with the context that it attends
to; FLOPs grow with it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from mfuscope.core.records import Calibration, Model
from mfuscope.metrics.workload import answer_flops
from mfuscope.report.cells import Cell, Table, absent, amount, build, figure, label
from mfuscope.report.data import Answer, ReportData, Variant
from mfuscope.report.formats import listing, milliseconds, number, percent, plural
from mfuscope.report.survey import Survey
from mfuscope.report.wording import answers, per_variant

#: Lengths of the table, in new tokens; table and figure end at the last one, or where a model's
#: positions do.
LENGTHS = (256, 2048, 8192)

_NO_STEP = "one new token: no decode step"


def answer(
    metrics: pd.DataFrame,
    models: Sequence[Model],
    survey: Survey,
    calibrations: Iterable[Calibration],
) -> Answer:
    """The answers of a variant.

    Args:
        metrics: its rows of metrics.csv.
        models: those that it measured.
        calibrations: of all variants; each counts once for every page of its resolution.
    """
    variant = str(metrics["variant"].iloc[0])
    positions = [model.positions for model in models]
    longest, prompt = None, int(metrics["prompt_tokens"].max())
    if known := [most for most in positions if most is not None]:
        longest = max(min(known) - prompt, 1)
    lengths = [n for n in LENGTHS if longest is None or n <= longest]
    if longest is not None and longest < LENGTHS[-1]:
        lengths.append(longest)
    pages = Counter(size for (name, _), size in survey.resolution.items() if name == variant)
    counted = {one.resolution: one for one in calibrations if one.variant == variant}
    return Answer(
        least=int(metrics["new_tokens"].min()),
        most=int(metrics["new_tokens"].max()),
        mean=float(metrics.groupby("image")["new_tokens"].mean().mean()),
        longest=longest,
        flops={
            n: sum(k * answer_flops(counted[size], n) for size, k in pages.items()) / pages.total()
            for n in lengths
        },
    )


def page_ms(variant: Variant, new_tokens: float) -> float | None:
    """What a page would take with an answer of that length; None without a step.

    In a batch: its share of the batch's time.
    """
    tpot = variant.tpot_ms
    if tpot is None:
        return None
    return (variant.prefill_ms + (new_tokens - 1) * tpot) / variant.batch_size


def half(variant: Variant) -> float | None:
    """New tokens at which decode takes half of a page; None without a step."""
    tpot = variant.tpot_ms
    return None if tpot is None else 1 + variant.prefill_ms / tpot


def drawn(variant: Variant) -> int:
    """The longest answer that is drawn: the model must have positions for it."""
    longest = variant.answer.longest
    return LENGTHS[-1] if longest is None else min(longest, LENGTHS[-1])


def mfu(data: ReportData, variant: Variant, new_tokens: int) -> float | None:
    """MFU of prefill and decode together at one of the lengths of `Answer.flops`."""
    ms = page_ms(variant, new_tokens)
    if not ms:
        return None
    peak = data.hardware.peaks[variant.model.dtype].tflops * 1e12
    return variant.answer.flops[new_tokens] / (ms / 1e3 * peak)


def lengths(data: ReportData) -> Table:
    """Page time, share of decode and MFU by the length of the answer."""

    def row(variant: Variant, new_tokens: int) -> tuple[Cell, ...]:
        ms, tpot = page_ms(variant, new_tokens), variant.tpot_ms
        reached = mfu(data, variant, new_tokens)
        if ms is None or tpot is None or reached is None:
            return (label(variant.name), amount(f"{new_tokens:,}"), *[absent(_NO_STEP)] * 3)
        return (
            label(variant.name),
            amount(f"{new_tokens:,}"),
            amount(milliseconds(ms)),
            amount(percent((new_tokens - 1) * tpot / variant.batch_size / ms, 3)),
            figure(100 * reached),
        )

    batches = [variant.name for variant in data.variants if variant.batch_size > 1]
    share = f" ({listing(batches)}: batch time ÷ copies)" if batches else ""
    return build(
        f"Page time by answer length, extrapolated from {answers(data)}{share}",
        ("Variant", "New tokens", "Page", "Decode's share", "MFU, %"),
        (row(variant, n) for variant in data.variants for n in variant.answer.flops),
    )


def sentences(data: ReportData) -> list[str]:
    """TPOT of each variant, and from which length on decode takes more than half of a page."""
    return [
        f"{f'{variant.name}: ' if len(data.variants) > 1 else ''}TPOT {number(tpot)} ms; decode "
        f"takes more than half of a page from {plural(math.floor(at) + 1, 'new token')} on."
        for variant in data.variants
        if (tpot := variant.tpot_ms) is not None and (at := half(variant)) is not None
    ]


def limits(data: ReportData) -> str:
    """How the figure and the table are made, how far they go, and what they leave out."""
    text = (
        "TPOT, the time per output token, is decode time ÷ decode steps. A page of n new tokens "
        "takes prefill + (n − 1) × TPOT, as prefill makes the first token. At every length TPOT is "
        f"that of the measured {answers(data)}. The KV cache grows with the answer, so steps of "
        "long answers can take longer than shown. The FLOPs behind MFU do grow with the context."
    )
    bounded = [v for v in data.variants if v.answer.longest is not None and drawn(v) < LENGTHS[-1]]
    if not bounded:
        return text
    reach = per_variant(data, lambda v: f"{drawn(v):,} new tokens")
    return f"{text} The range ends at {reach}, where the model runs out of positions."
