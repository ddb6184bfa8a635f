"""How answers ended: by themselves, at their limit, or in a loop; and what the loops cost."""

from collections import Counter
from typing import Final

from mfuscope.core.endings import GRAM, LEAST, OFTEN
from mfuscope.report.cells import Cell, Table, build, figure, label, share
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.formats import listing, number, percent, plural
from mfuscope.report.page_endings import ORDER, PageEnding

_WORDS: Final = {"loop": "loop", "limit": "limit", "end": "end of sequence"}

DEFINITION: Final = (
    "An answer ends with the model's end of sequence, or at the limit, max_new_tokens. It is a "
    f"loop if it ends at the limit with a tail of at least {LEAST} tokens in which each n-gram of "
    f"{GRAM} tokens occurs {OFTEN} times, on average. Time in loops is that of the tokens whose "
    "n-gram the loop has already, at the run's mean step. no_repeat_ngram_size varies a loop, and "
    "seldom ends it; a lower max_new_tokens bounds what it costs."
)


def sentences(data: ReportData) -> list[str]:
    """How many pages of each variant ended how, and the share of its time that loops take."""
    return [_sentence(data, variant) for variant in data.variants if _pages(data, variant)]


def unknown(data: ReportData) -> str:
    """Where nothing is known of how answers ended, and why; empty where all is."""
    lacking = [variant.name for variant in data.variants if not _pages(data, variant)]
    if not lacking:
        return ""
    which = "" if len(lacking) == len(data.variants) else f" of {listing(lacking)}"
    reasons = "; ".join(data.survey.reasons("ending")) or "the records do not tell"
    return f"How the answers{which} ended: {reasons}."


def loops(data: ReportData) -> str:
    """The pages that loop, and what they cost; empty without any."""
    found = [
        f"{f'{variant.name}: ' if len(data.variants) > 1 else ''}{looping} of "
        f"{plural(len(pages), 'page')}, {percent(_loop_share(pages))} of the time"
        for variant in data.variants
        if (pages := _pages(data, variant)) and (looping := _count(pages)["loop"])
    ]
    if not found:
        return ""
    return f"Loops: answers repeat themselves up to max_new_tokens ({'; '.join(found)})."


def endings(data: ReportData) -> Table:
    """How each page ended, loops first."""
    rows = sorted(data.endings, key=lambda one: (ORDER.index(one.ending), -one.loop_ms / one.ms))
    return build(
        "How answers ended",
        ("Page", "Variant", "Ended by", "New tokens", "Pages/s", "Time in loops"),
        (
            (
                label(one.image),
                label(one.variant),
                Cell(_ended(one)),
                figure(one.new_tokens),
                figure(one.pages_per_s),
                share(one.loop_ms / one.ms),
            )
            for one in rows
        ),
    )


def _ended(one: PageEnding) -> str:
    if len(one.endings) == 1:
        return _WORDS[one.ending]
    return ", ".join(f"{_WORDS[by]} {n}×" for by in ORDER if (n := one.endings.get(by)))


def _sentence(data: ReportData, variant: Variant) -> str:
    pages = _pages(data, variant)
    count = _count(pages)
    ways = {
        "end": "ended with the end of sequence",
        "limit": "reached max_new_tokens",
        "loop": "reached it in a loop",
    }
    told = listing([f"{count[by]} {text}" for by, text in ways.items() if count[by] or by == "end"])
    mean = sum(page.new_tokens for page in pages) / len(pages)
    name = f"{variant.name}: of" if len(data.variants) > 1 else "Of"
    text = f"{name} {plural(len(pages), 'page')}, {told}; {number(mean)} new tokens a page."
    if not count["loop"]:
        return text
    return f"{text} Loops take {percent(_loop_share(pages))} of the time."


def _pages(data: ReportData, variant: Variant) -> list[PageEnding]:
    return [one for one in data.endings if one.variant == variant.name]


def _count(pages: list[PageEnding]) -> Counter[str]:
    return Counter(page.ending for page in pages)


def _loop_share(pages: list[PageEnding]) -> float:
    return sum(page.loop_ms for page in pages) / sum(page.ms for page in pages)
