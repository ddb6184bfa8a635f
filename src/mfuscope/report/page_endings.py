"""How the answers of each page ended, from metrics.csv."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

#: Endings, the gravest first.
ORDER: Final = ("loop", "limit", "end")
# Columns of metrics.csv that tell.
_COLUMNS: Final = (
    *("variant", "image", "batch_size", "ending"),
    *("new_tokens", "loop_tokens", "decode_ms", "page_ms"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEnding:
    """How the answers of a page ended in a variant, over those of its repeats that tell.

    Attributes:
        endings: number of repeats by ending.
        new_tokens: mean of a repeat.
        ms: time on the device in ms, of all repeats together.
        pages_per_s: pages, copies of a batch included, by that time.
        loop_ms: the part of it in which a loop said what it had said before.
    """

    variant: str
    image: str
    endings: Mapping[str, int]
    new_tokens: float
    ms: float
    pages_per_s: float
    loop_ms: float

    @property
    def ending(self) -> str:
        """The gravest ending of its repeats."""
        return next(by for by in ORDER if by in self.endings)


def page_endings(metrics: pd.DataFrame) -> Iterator[PageEnding]:
    """How the answers of each page ended; nothing of runs that do not tell.

    Args:
        metrics: metrics.csv.
    """
    known = metrics.loc[metrics["ending"].notna(), list(_COLUMNS)]
    steps = (known["new_tokens"] - 1).clip(lower=1)  # an answer of one token is no loop
    loop_ms = known["decode_ms"] * known["loop_tokens"].astype("float64") / steps
    known = known.assign(loop_ms=loop_ms)
    for (variant, image), rows in known.groupby(["variant", "image"], sort=False):
        ms = float(rows["page_ms"].sum())
        yield PageEnding(
            variant=str(variant),
            image=str(image),
            endings=Counter(map(str, rows["ending"])),
            new_tokens=float(rows["new_tokens"].mean()),
            ms=ms,
            pages_per_s=1e3 * float(rows["batch_size"].sum()) / ms,
            loop_ms=float(rows["loop_ms"].sum()),
        )
