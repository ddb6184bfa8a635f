"""report.json: the report's headline for programs (report.schema.yaml)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mfuscope import __version__
from mfuscope.metrics.totals import TOTALS
from mfuscope.report import validity as checks
from mfuscope.report.answers import half
from mfuscope.report.best import best_sentences
from mfuscope.report.data import ReportData, Stat, Tried, Variant
from mfuscope.report.formats import plain
from mfuscope.report.limits import limit_sentence, main_stage, stage_facts
from mfuscope.report.publishable import Scope, withheld
from mfuscope.report.recommendations import Proof, Recommendation, recommend
from mfuscope.report.to_try import tips
from mfuscope.report.tried import advised, fastest, highest_throughput
from mfuscope.report.verdict import verdict_sentence
from mfuscope.report.wording import (
    CENTRES,
    a_page,
    dummy_statement,
    gaps_statement,
    stand_in_statement,
    title,
)

#: The headline numbers, and what withholds each.
_HEADLINE: Mapping[str, Scope] = {
    "page_ms": "page",
    "prefill_ms": "page",
    "decode_tokens_per_s": "decode",
    "mfu_model": "page",
    "mfu_prefill": "page",
    "mfu_decode": "decode",
}
_STATISTICS = ("n", "mean", "std", "cv", "ci95_low", "ci95_high", "std_repeats", *TOTALS)


def head(data: ReportData) -> dict[str, Any]:
    """The record of report.json."""
    recommendations = {variant.name: recommend(data, variant) for variant in data.variants}
    return {
        "mfuscope": {"version": __version__, "commit": data.commit},
        "title": title(data),
        "device": asdict(data.hardware.device),
        "measured": {
            "first": data.survey.first,
            "last": data.survey.last,
            "pages": len(data.pages),
            "repeats": data.repeats,
            "runs": data.survey.total,
            "missing_runs": len(data.missing),
            "skipped_pages": len(data.skipped),
        },
        "notices": [
            text
            for text in (gaps_statement(data), dummy_statement(data), stand_in_statement(data))
            if text
        ],
        "verdict": plain(verdict_sentence(data)),
        "do_first": _do_first(data, recommendations),
        "variants": [
            _variant(data, variant, recommendations[variant.name]) for variant in data.variants
        ],
        "tried": {
            "sentences": [plain(text) for text in best_sentences(data)],
            "fastest": _best(fastest(data), "page_ms"),
            "throughput": _best(highest_throughput(data), "pages_per_s"),
        },
        "warnings": [
            {"check": plain(check.title), "text": plain(" ".join([check.text, *check.details]))}
            for check in checks.all_checks(data)
            if check.verdict == "warning"
        ],
    }


def _do_first(
    data: ReportData, recommendations: Mapping[str, Sequence[Recommendation]]
) -> dict[str, Any] | None:
    valid = not withheld(data, data.reference, "page")
    first = tips(data, recommendations, advised(data)).first(valid=valid)
    if first is None:
        return None
    return {
        "title": plain(first.title),
        "gain": plain(first.gain),
        "gain_ms": first.gain_ms,
        "ci95_low": first.low,
        "ci95_high": first.high,
        "confidence": first.confidence,
    }


def _variant(
    data: ReportData, variant: Variant, recommendations: Sequence[Recommendation]
) -> dict[str, Any]:
    stage = stage_facts(variant, main_stage(variant), data.hardware, data.ceiling)
    reasons: dict[Scope, str] = {
        "page": withheld(data, variant, "page"),
        "decode": withheld(data, variant, "decode"),
    }
    return {
        "name": variant.name,
        "model": asdict(variant.model),
        "answer": {
            "new_tokens_least": variant.answer.least,
            "new_tokens_most": variant.answer.most,
            "new_tokens_mean": variant.answer.mean,
            "tpot_ms": None if reasons["decode"] else variant.tpot_ms,
            "half_decode_tokens": half(variant),
        },
        "headline": {
            name: _statistics(variant.headline[name], shown=not reasons[scope])
            for name, scope in _HEADLINE.items()
        },
        "limit": {
            "stage": stage.stage,
            "kind": stage.kind,
            "sentence": plain(limit_sentence(stage, variant.page_ms, a_page(variant))),
        },
        "cost_centres": [
            {"key": one.key, "stage": CENTRES[one.key].stage, "ms": one.ms, "share": one.share}
            for one in variant.centres
        ],
        "recommendations": [
            {
                "rule": one.rule,
                "title": plain(one.title),
                "text": plain(one.text),
                "evidence": [plain(line) for line in one.evidence],
                "gain_ms": one.gain_ms,
                "cure": None if one.cure is None else dict(one.cure),
                "measured": None if one.proof is None else _proof(one.proof),
            }
            for one in recommendations
        ],
    }


def _proof(proof: Proof) -> dict[str, Any]:
    return asdict(proof) | {"changes": dict(proof.changes), "verdict": proof.verdict or None}


def _best(one: Tried | None, metric: str) -> dict[str, Any] | None:
    """The best variant with its ratio to the reference."""
    if one is None:
        return None
    found = one.compared[metric]
    return {
        "variant": one.variant.name,
        "changes": dict(one.changes),
        "metric": metric,
        "ratio": found.ratio,
        "ci95_low": found.ci95_low,
        "ci95_high": found.ci95_high,
        "same_tokens": one.same_tokens,
    }


def _statistics(stat: Stat, *, shown: bool) -> dict[str, Any]:
    """The statistics, or their n alone where a rule of validity withholds them."""
    return {name: getattr(stat, name) if shown or name == "n" else None for name in _STATISTICS}
