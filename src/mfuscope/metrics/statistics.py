"""Mean and spread over repeats, per page and over pages; of rates total work / total time too."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from mfuscope.metrics.device import WAITS
from mfuscope.metrics.totals import RATES, TOTALS, between_repeats, by_repeat, totals, work_and_time

ALL = "all"

_STATISTICS = (
    "n",
    "mean",
    "std",
    "cv",
    "ci95_low",
    "ci95_high",
    "min",
    "max",
    "std_repeats",
)

#: The totals of what is no rate.
NO_TOTALS = dict.fromkeys(TOTALS, np.nan)

#: Columns of names in metrics.csv.
NAMES = ("variant", "image", "weights")

SUMMARISED = (
    "prefill_ms",
    "vision_ms",
    "projector_ms",
    "language_prefill_ms",
    "decode_ms",
    "page_ms",
    "pages_per_s",
    "decode_tokens_per_s",
    "step_p50_ms",
    "step_p95_ms",
    "step_p99_ms",
    "prefill_gflops",
    "decode_gflops_per_token",
    "mfu_prefill",
    "mfu_decode",
    "mfu_model",
    "mbu_decode",
    "mfu_prefill_of_ceiling",
    "mfu_decode_of_ceiling",
    "mfu_model_of_ceiling",
    "mfu_prefill_busy",
    "mfu_decode_busy",
    "mfu_model_busy",
    "mbu_decode_busy",
    "hfu_prefill",
    "hfu_decode",
    "padding_prefill",
    "padding_decode",
    "dram_gb_prefill",
    "dram_gb_per_token",
    "decode_weight_gb_per_token",
    "decode_kv_gb_per_token",
    "prefill_flop_per_byte",
    "decode_flop_per_byte",
    "peak_memory_gb",
    "energy_j",
    "energy_per_page_j",
    "stalls",
    "stall_ms",
    "compile_s",
    "traced_prefill_ms",
    "traced_decode_ms",
    "step_mean_ms",
    "traced_step_mean_ms",
    "prefill_kernels",
    "decode_kernels_per_step",
    "prefill_device_busy_ms",
    "decode_device_busy_ms",
    "prefill_busy_share",
    "decode_busy_share",
    *(f"{stage}_waiting_{wait}_ms" for stage in ("prefill", "decode") for wait in WAITS),
)


_NONE = np.empty(0)


def describe(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Statistics of a page's repeats, absent values left out.

    Returns:
        n, mean, std (sample, n-1), cv (std / mean), ci95_low and ci95_high (Student's t for the
        mean), min, max, and std_repeats, which is std here. With one value there is no spread:
        std, cv and the interval are NaN.
    """
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return {"n": 0} | dict.fromkeys(_STATISTICS[1:], np.nan)
    mean = float(values.mean())
    std = float(values.std(ddof=1)) if n > 1 else np.nan
    low, high = np.nan, np.nan
    if n > 1:
        half = float(special.stdtrit(n - 1, 0.975)) * std / np.sqrt(n)
        low, high = mean - half, mean + half
    return {
        "n": n,
        "mean": mean,
        "std": std,
        "cv": std / mean if mean else np.nan,
        "ci95_low": low,
        "ci95_high": high,
        "min": float(values.min()),
        "max": float(values.max()),
        "std_repeats": std,
    }


def describe_pages(
    pages: Sequence[Mapping[str, float]], repeats: npt.NDArray[np.float64] = _NONE
) -> dict[str, float]:
    """Statistics of the pages' means, from the results of `describe` for each page.

    The interval over pages reaches to the repeats (`totals.between_repeats`).

    `std_repeats` is the standard deviation between repeats, pooled over the pages:
    sqrt(sum((n_i - 1) std_i^2) / sum(n_i - 1)). NaN where no page has two repeats.

    Args:
        repeats: the mean over the pages of each repeat.
    """
    between = describe(np.array([page["mean"] for page in pages], dtype=np.float64))
    if between["n"] > 1:
        mean, least = between["mean"], between_repeats(repeats, between["mean"])
        between["ci95_low"] = min(between["ci95_low"], mean - least)
        between["ci95_high"] = max(between["ci95_high"], mean + least)
    repeated = [(page["n"] - 1, page["std"]) for page in pages if page["n"] > 1]
    freedom = sum(more for more, _ in repeated)
    pooled = sum(more * std**2 for more, std in repeated) / freedom if freedom else np.nan
    return between | {"std_repeats": float(np.sqrt(pooled))}


def summarise(metrics: pd.DataFrame) -> pd.DataFrame:
    """summary.csv: variant x image x metric, and per variant the rows of the image ``all``.

    A page's rows are over its repeats. The rows of ``all`` are over the pages' means: their spread
    is the spread between pages, n the number of pages, and ``std_repeats`` the spread between
    repeats. Rates have their `totals` beside (`RATES`): of a page over its repeats, of ``all`` over
    the pages, each with the mean work and time of its repeats, so that every page counts once.
    """
    over = _totals(metrics)
    rows = []
    for variant, of_variant in metrics.groupby("variant", sort=False):
        weights = of_variant["weights"].iloc[0]
        pages: dict[str, list[dict[str, float]]] = {metric: [] for metric in SUMMARISED}
        values: dict[str, list[npt.NDArray[np.float64]]] = {metric: [] for metric in SUMMARISED}
        for image, of_page in of_variant.groupby("image", sort=False):
            for metric, found in pages.items():
                values[metric].append(of_page[metric].to_numpy(dtype=float))
                found.append(describe(values[metric][-1]))
                rows.append(_row(variant, image, metric, weights) | found[-1])
        for metric, found in pages.items():
            repeats = by_repeat(values[metric]) / len(found)
            rows.append(_row(variant, ALL, metric, weights) | describe_pages(found, repeats))
    for row in rows:
        row |= over.get((row["variant"], row["image"], row["metric"]), NO_TOTALS)
    return pd.DataFrame(rows)


def _totals(metrics: pd.DataFrame) -> dict[tuple[object, object, object], dict[str, float]]:
    """`TOTALS` of every rate, by variant, image and metric."""
    pages = metrics.groupby(["variant", "image"], sort=False)
    of_page = pages.ngroup().to_numpy()
    names = [*dict.fromkeys(zip(metrics["variant"], metrics["image"], strict=True))]
    variants = list(dict.fromkeys(variant for variant, _ in names))
    of_variant = np.array([variants.index(variant) for variant, _ in names])
    found: dict[tuple[object, object, object], dict[str, float]] = {}
    for rate in RATES:
        work, time = work_and_time(metrics, rate)
        by_page = totals(of_page, len(names), work, time)
        repeats = [
            by_repeat([work[rows] for rows in own]) / by_repeat([time[rows] for rows in own])
            for own in ([pages.indices[name] for name in names if name[0] == v] for v in variants)
        ]
        every = totals(of_variant, len(variants), by_page.work, by_page.time, repeats)
        everything = [(names, by_page), ([(variant, ALL) for variant in variants], every)]
        for places, made in everything:
            values = np.stack([made.total, made.low, made.high], axis=1).tolist()
            for place, row in zip(places, values, strict=True):
                found[*place, rate] = dict(zip(TOTALS, row, strict=True))
    return found


def _row(variant: object, image: object, metric: str, weights: object) -> dict[str, object]:
    return {"variant": variant, "image": image, "metric": metric, "weights": weights}
