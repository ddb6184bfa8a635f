"""The variants of one call against the first one, the reference: results/comparison.csv."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import pandas as pd

from mfuscope.compare.ratios import Compared, Repeats, compare_pages, compare_repeats
from mfuscope.compare.verdicts import verdict
from mfuscope.metrics.statistics import ALL
from mfuscope.metrics.totals import RATES, by_repeat, work_and_time

#: Columns of names in metrics.csv that a comparison needs.
NAMES: Final = ("variant", "image", "token_ids_sha256")
#: The metrics that are compared.
COMPARED: Final = (
    "prefill_ms",
    "vision_ms",
    "language_prefill_ms",
    "decode_ms",
    "page_ms",
    "decode_tokens_per_s",
    "step_p50_ms",
    "pages_per_s",
    "mfu_prefill",
    "mfu_decode",
    "mfu_model",
    "mbu_decode",
    "prefill_busy_share",
    "decode_busy_share",
    "prefill_kernels",
    "decode_kernels_per_step",
    "peak_memory_gb",
    "energy_per_page_j",
)
#: Columns of comparison.csv that hold numbers.
NUMBERS: Final = ("reference_mean", "variant_mean", "ratio", "ci95_low", "ci95_high", "n")
COLUMNS: Final = ("variant", "image", "metric", *NUMBERS, "same_tokens", "verdict")


@dataclass(frozen=True, slots=True)
class Sample:
    """The repeats of one page in one variant.

    Attributes:
        values: by metric.
        tokens: digests of the tokens that its runs made; None where one is not known.
    """

    values: Mapping[str, Repeats]
    tokens: frozenset[str] | None


#: Samples by variant and image, both in the order of metrics.csv.
Samples = Mapping[str, Mapping[str, Sample]]


def samples(metrics: pd.DataFrame, names: Sequence[str] = COMPARED) -> Samples:
    """The samples of metrics.csv.

    Args:
        names: the metrics to take; one without a column is absent throughout.
    """
    found: dict[str, dict[str, Sample]] = {}
    numbers = {name: _repeats(metrics, name) for name in names}
    tokens = metrics.reindex(columns=["token_ids_sha256"]).iloc[:, 0].to_numpy(dtype=object)
    places = metrics.groupby(["variant", "image"], sort=False).indices
    for variant, image in dict.fromkeys(zip(metrics["variant"], metrics["image"], strict=True)):
        rows = places[variant, image]
        made = tokens[rows]
        found.setdefault(str(variant), {})[str(image)] = Sample(
            {name: Repeats(one.work[rows], one.time[rows]) for name, one in numbers.items()},
            None if pd.isna(made).any() else frozenset(map(str, made)),
        )
    return found


def compare_variants(metrics: pd.DataFrame) -> pd.DataFrame:
    """comparison.csv: each variant after the first x page (and ``all``) x metric.

    Args:
        metrics: metrics.csv; its first variant is the reference.

    Returns:
        A page's rows compare its repeats, those of ``all`` the pages that both variants have. No
        row for a single variant.
    """
    found = samples(metrics)
    reference, *others = found
    rows = [row for other in others for row in _rows(other, found[reference], found[other])]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def images_of(reference: Iterable[str], variant: Iterable[str]) -> list[str]:
    """The images that a variant's rows are of: the pages of either variant, then ``all``."""
    return [*dict.fromkeys([*reference, *variant]), ALL]


def compare_all(
    reference: Mapping[str, Sample], variant: Mapping[str, Sample], metric: str
) -> Compared:
    """A metric over all pages that both variants have."""
    return compare_pages(
        (sample.values[metric], variant[image].values[metric])
        for image, sample in reference.items()
        if image in variant
    )


def repeat_means(of: Mapping[str, Sample], metric: str) -> list[float]:
    """The mean of a plain quantity over the pages, of each repeat; empty where runs are missing."""
    means = by_repeat([sample.values[metric].work for sample in of.values()]) / len(of)
    return [] if np.isnan(means).any() else [float(mean) for mean in means]


def same_tokens(reference: Sample, variant: Sample) -> bool | None:
    """Whether every run of both samples made the same tokens; None where that is not known."""
    if reference.tokens is None or variant.tokens is None:
        return None
    return len(reference.tokens | variant.tokens) == 1


def _rows(
    name: str, reference: Mapping[str, Sample], variant: Mapping[str, Sample]
) -> Iterable[dict[str, object]]:
    same: dict[str, bool | None] = {
        image: same_tokens(sample, variant[image])
        for image, sample in reference.items()
        if image in variant
    }
    same[ALL] = _all_of(list(same.values()))
    for image in images_of(reference, variant):
        for metric in COMPARED:
            if image == ALL:
                found = compare_all(reference, variant, metric)
            else:
                found = compare_repeats(
                    _values(reference, image, metric), _values(variant, image, metric)
                )
            yield {
                "variant": name,
                "image": image,
                "metric": metric,
                **asdict(found),
                "same_tokens": same.get(image),
                "verdict": verdict(metric, found) or None,
            }


def _values(of: Mapping[str, Sample], image: str, metric: str) -> Repeats:
    return of[image].values[metric] if image in of else Repeats.of(np.empty(0))


def _repeats(metrics: pd.DataFrame, name: str) -> Repeats:
    """A metric of all runs; absent throughout where the table has no such column."""
    if name in RATES and name in metrics:
        return Repeats(*work_and_time(metrics, name))
    column = metrics.reindex(columns=[name])[name]
    return Repeats.of(column.to_numpy(dtype=np.float64, na_value=np.nan))


def _all_of(found: Sequence[bool | None]) -> bool | None:
    """False if one is; else None if one is not known, or there is none."""
    if False in found:
        return False
    return None if not found or None in found else True
