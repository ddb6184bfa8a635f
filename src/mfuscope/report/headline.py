"""The headline numbers: times with their spread, rates with their interval."""

from dataclasses import replace

from mfuscope.report.cells import (
    Cell,
    Table,
    absent,
    amount,
    build,
    confidence,
    figure,
    label,
    mean,
    rate_with_interval,
    says_nothing,
)
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.formats import interval, number, unbroken
from mfuscope.report.wording import answer_text, answers

_MFU = ("mfu_model", "mfu_prefill", "mfu_decode")


def time_cell(variant: Variant, metric: str) -> Cell:
    """A time of the headline; below a spread between pages stands the spread between repeats."""
    stat = variant.headline[metric]
    cell = mean(stat)
    if variant.over != "page" or not stat.mean or stat.std_repeats is None:
        return cell
    return replace(cell, sub=f"± {number(stat.std_repeats, 2)} over repeats")


def tpot_cell(variant: Variant) -> Cell:
    """Time per output token, the inverse of the rate of decode, with the inverse interval."""
    stat, tpot = variant.headline["decode_tokens_per_s"], variant.tpot_ms
    if tpot is None:
        return absent(stat.reason)
    low, high, ends = stat.total_ci95_low, stat.total_ci95_high, confidence(stat)
    if low is None or high is None:
        return figure(tpot)
    if says_nothing(low, high):
        return replace(figure(tpot), note=ends.note, sub=unbroken(ends.text))
    scale = 1e3 * variant.batch_size
    return replace(figure(tpot), sub=unbroken(interval(scale / high, scale / low)))


def headline(data: ReportData) -> Table:
    """The headline numbers per variant."""
    over = data.variants[0].over
    return build(
        f"Headline numbers, of {answers(data)} a page. Times: mean ± standard deviation between "
        f"{over}s. Rates, MFU and ms a token (TPOT): total work ÷ total time, with the 95 % "
        f"interval. n counts {over}s",
        (
            "Variant",
            "n",
            "Prefill, ms",
            "Decode, tokens/s",
            "MFU, %",
            "MFU of prefill, %",
            "MFU of decode, %",
            "Decode, ms a token",
            _page(data),
        ),
        (
            (
                label(v.name),
                amount(str(v.headline["prefill_ms"].n)),
                time_cell(v, "prefill_ms"),
                rate_with_interval(v.headline["decode_tokens_per_s"]),
                *(rate_with_interval(v.headline[name], 100) for name in _MFU),
                tpot_cell(v),
                time_cell(v, "page_ms"),
            )
            for v in data.variants
        ),
    )


def _page(data: ReportData) -> str:
    """The column of page times, with the answers' length where all variants have the same."""
    lengths = {answer_text(variant.answer) for variant in data.variants}
    return f"Page of {lengths.pop()}, ms" if len(lengths) == 1 else "Page, ms"
