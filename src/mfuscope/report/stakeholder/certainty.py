"""How certain the numbers are, and why."""

from typing import Literal

from mfuscope.report.data import ReportData, Variant
from mfuscope.report.formats import percent, plural
from mfuscope.report.publishable import withheld
from mfuscope.report.spread import CV_LIMIT
from mfuscope.report.wording import stand_in_statement


def confidence(data: ReportData, variant: Variant) -> tuple[Literal["high", "medium", "low"], str]:
    """How certain the numbers are, and why."""
    low, medium = [], []
    if withheld(data, variant, "page"):
        low.append("the numbers break a rule of validity")
    if stand_in_statement(data):
        low.append("what was measured is not the real model on its real device")
    if len(data.survey.devices) > 1:
        low.append("the runs were made on different devices")
    worst = _worst_spread(data)
    if worst is None:
        low.append("each page was measured once, so the variation between repeats is not known")
    elif worst > 2 * CV_LIMIT:
        low.append(f"repeated times of one page scatter by up to {percent(worst)}")
    elif worst > CV_LIMIT:
        medium.append(f"repeated times of one page scatter by up to {percent(worst)}")
    if worst is not None and data.repeats < 3:
        medium.append(f"each page was measured only {plural(data.repeats, 'time')}")
    if len(data.pages) < 5:
        medium.append(f"{plural(len(data.pages), 'page')} may not stand for all")
    if data.hardware.peaks[variant.model.dtype].source in ("estimated", "override"):
        medium.append("the device's peak speed is not from a data sheet")
    if low or medium:
        return ("low" if low else "medium"), "; ".join([*low, *medium])
    return "high", (
        f"{plural(len(data.pages), 'page')}, each measured {plural(data.repeats, 'time')}, whose "
        f"times scatter by at most {percent(worst or 0)}"
    )


def _worst_spread(data: ReportData) -> float | None:
    spreads = [
        cv
        for page in data.pages
        for m in page.measured
        for metric in ("prefill_ms", "decode_ms")
        if (cv := m.stats[metric].cv) is not None
    ]
    return max(spreads, default=None)
