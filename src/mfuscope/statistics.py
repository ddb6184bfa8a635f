"""Mean and spread over repeats, per page and over pages."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

ALL = "all"

SUMMARISED = (
    "prefill_ms",
    "vision_ms",
    "projector_ms",
    "language_prefill_ms",
    "decode_ms",
    "decode_tokens_per_s",
    "step_p50_ms",
    "step_p95_ms",
    "prefill_gflops",
    "decode_gflops_per_token",
    "mfu_prefill",
    "mfu_decode",
    "mfu_model",
    "mbu_decode",
    "mfu_prefill_of_ceiling",
    "mfu_decode_of_ceiling",
    "mfu_model_of_ceiling",
    "prefill_flop_per_byte",
    "decode_flop_per_byte",
    "peak_memory_gb",
    "energy_j",
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
)


def describe(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Statistics of a sample, absent values left out.

    Returns:
        n, mean, std (sample, n-1), cv (std / mean), ci95_low and ci95_high (Student's t for the
        mean), min, max. With one value there is no spread: std, cv and the interval are NaN.
    """
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return {"n": 0} | dict.fromkeys(
            ("mean", "std", "cv", "ci95_low", "ci95_high", "min", "max"), np.nan
        )
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
    }


def summarise(metrics: pd.DataFrame) -> pd.DataFrame:
    """summary.csv: variant x image x metric, and per variant the rows of the image ``all``.

    A page's rows are over its repeats. The rows of ``all`` are over the pages' means, so that
    their spread is the spread between pages and n is the number of pages.
    """
    rows = []
    for variant, of_variant in metrics.groupby("variant", sort=False):
        pages = of_variant.groupby("image", sort=False)
        means = pages[list(SUMMARISED)].mean()
        weights = of_variant["weights"].iloc[0]
        for image, of_page in pages:
            rows += [
                {"variant": variant, "image": image, "metric": metric, "weights": weights}
                | describe(of_page[metric].to_numpy(dtype=float))
                for metric in SUMMARISED
            ]
        rows += [
            {"variant": variant, "image": ALL, "metric": metric, "weights": weights}
            | describe(means[metric].to_numpy(dtype=float))
            for metric in SUMMARISED
        ]
    return pd.DataFrame(rows)
