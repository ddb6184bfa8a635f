"""The headline numbers: one big number each, its 95 % interval below, or why it is absent."""

from dataclasses import dataclass, replace

from mfuscope.compare.variants import repeat_means
from mfuscope.report.cells import (
    TOO_FEW,
    Cell,
    Table,
    absent,
    amount,
    build,
    confidence,
    figure,
    label,
    rate_with_interval,
    says_nothing,
)
from mfuscope.report.data import ReportData, Stat, Variant
from mfuscope.report.formats import interval, listing, milliseconds, number, plural, unbroken
from mfuscope.report.publishable import broken_rules, log_interval, page_interval, withheld
from mfuscope.report.wording import a_page, answer_text, answers

# Repeats that are named one by one.
_MOST_REPEATS = 5
_ALONE = "one page that was measured once has no interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A number of the headline: its interval is the cell's `sub`, why it is absent its `note`."""

    label: str
    unit: str
    cell: Cell


def cards(data: ReportData, variant: Variant) -> list[Card]:
    """The headline numbers of a variant; those that break a rule of validity are absent."""
    # The verdict says at length why all of them are withheld.
    page = f"withheld: {listing(rules)}" if (rules := broken_rules(data, variant)) else ""
    decode = page or withheld(data, variant, "decode")
    stats = variant.headline
    batch = variant.batch_size
    copies = "Page" if batch == 1 else f"Batch of {batch} copies"
    found = [
        Card(
            label=f"{copies}, {answer_text(variant.answer)}",
            unit="ms",
            cell=_page(variant),
        ),
        Card(label="Prefill", unit="ms", cell=_mean(stats["prefill_ms"])),
        Card(label="Time per output token (TPOT)", unit="ms", cell=tpot_cell(variant)),
        Card(
            label="Decode",
            unit="tokens/s",
            cell=rate_with_interval(stats["decode_tokens_per_s"]),
        ),
        Card(label="MFU of prefill", unit="%", cell=rate_with_interval(stats["mfu_prefill"], 100)),
        Card(label="MBU of decode", unit="%", cell=rate_with_interval(stats["mbu_decode"], 100)),
        Card(label="Energy per page", unit="J", cell=_mean(stats["energy_per_page_j"])),
        Card(label="How sure", unit="% of the page time", cell=_sure(variant)),
    ]
    of_decode = ("tokens/s", "MBU of decode", "Time per output token (TPOT)")

    def shown(card: Card) -> Card:
        reason = decode if {card.label, card.unit} & set(of_decode) else page
        return replace(card, cell=absent(reason)) if reason and not card.cell.absent else card

    return [shown(card) for card in found]


def caption(data: ReportData, variant: Variant) -> str:
    """What the cards are of, and what stands below each number."""
    of = f"{variant.name}, the reference: times" if data.tried else "Times"
    n = variant.headline["page_ms"].n
    repeats = f", {plural(data.repeats, 'repeat')} each" if variant.over == "page" else ""
    return (
        f"{of} of {a_page(variant)}. Below each number: its 95 % interval over "
        f"{plural(n, variant.over)}{repeats}.{_repeat_by_repeat(data, variant)}"
    )


def _repeat_by_repeat(data: ReportData, variant: Variant) -> str:
    """The mean page time of each repeat: an interval over pages does not show how they differ."""
    if variant.over != "page":
        return ""
    means = repeat_means(data.samples[variant.name], "page_ms")
    if len(means) < 2:
        return ""
    if len(means) > _MOST_REPEATS:
        ends = f"{milliseconds(min(means))} to {milliseconds(max(means))}"
        return f" Repeat by repeat a page takes {ends}."
    return f" Repeat by repeat a page takes {listing([milliseconds(ms) for ms in means])}."


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
    """The headline numbers of every variant, for reading off: the cards, a row each."""
    rows = {variant.name: cards(data, variant) for variant in data.variants}
    over = data.variants[0].over
    first = next(iter(rows.values()))
    lengths = {answer_text(variant.answer) for variant in data.variants}
    page = f"Page of {lengths.pop()}" if len(lengths) == 1 else "Page"
    return build(
        f"Each variant's own numbers, of {answers(data)} a page, each with its 95 % interval over "
        f"{over}s",
        (
            "Variant",
            f"{over}s".capitalize(),
            f"{page}, ms",
            *(f"{card.label}, {card.unit}" for card in first[1:-1]),
            "How sure, %",
        ),
        (
            (
                label(v.name),
                amount(str(v.headline["page_ms"].n)),
                *(card.cell for card in rows[v.name][:-1]),
                replace(rows[v.name][-1].cell, sub=""),
            )
            for v in data.variants
        ),
    )


def _page(variant: Variant) -> Cell:
    ends = page_interval(variant)
    cell = figure(variant.page_ms)
    return cell if ends is None else replace(cell, sub=_ends(*ends))


def _mean(stat: Stat) -> Cell:
    """A mean with its 95 % interval."""
    if stat.mean is None:
        return absent(stat.reason)
    cell, ends = figure(stat.mean), log_interval(stat)
    return cell if ends is None else replace(cell, sub=_ends(*ends))


def _ends(low: float, high: float) -> str:
    if says_nothing(low, high):
        return TOO_FEW
    return unbroken(interval(low, high))


def _sure(variant: Variant) -> Cell:
    ends, n = page_interval(variant), variant.headline["page_ms"].n
    if ends is None:
        return absent(_ALONE)
    less, more = (number(100 * abs(end / variant.page_ms - 1), 2) for end in ends)
    return Cell(
        f"−{less}\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}+{more}",
        "number",
        sub=f"95 % interval, {plural(n, variant.over)}",
    )
