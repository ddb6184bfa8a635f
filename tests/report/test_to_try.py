"""What to try: one list, ranked, each gain claimed once."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tried_data import GRAPHS, Made, report_of

from mfuscope.report.data import ReportData
from mfuscope.report.entries import Entry
from mfuscope.report.formats import plain
from mfuscope.report.publishable import noise_ms
from mfuscope.report.recommendations import Recommendation, recommend
from mfuscope.report.recommendations.proof import covers
from mfuscope.report.to_try import Tips, tips

SLOW = Made()
QUICK = Made(changes=GRAPHS, decode_ms=150.0, busy_ms=(95.0, 80.0), compile_s=27.0)
EIGHT = Made(changes={**GRAPHS, "batch_size": 8}, prefill_ms=300.0, decode_ms=400.0)


def found(data: ReportData, *names: str) -> Tips:
    recommendations = {v.name: recommend(data, v) for v in data.variants}
    return tips(data, recommendations, names or [v.name for v in data.variants])


def rule(metric: str | None = "decode_ms", gain_ms: float | None = 500.0, **changes: Any) -> Any:
    made = {
        "rule": "a_rule",
        "title": "Do it",
        "text": "It waits. Nothing else does (.item(), say). `that` helps.",
        "plain": "Do it again.",
        "evidence": ("a fact",),
        "gain_ms": gain_ms,
        "metric": metric,
    }
    return Recommendation(**(made | changes))


def listed(data: ReportData, *rules: Recommendation) -> Tips:
    return tips(data, {data.reference.name: rules}, [data.reference.name])


def test_a_best_variant_heads_the_list_and_answers_the_rules_that_it_follows() -> None:
    data = report_of(baseline=SLOW, quick=QUICK, eight=EIGHT)
    use, batch, *rest = found(data, "baseline", "quick").entries
    assert (use.title, use.confidence, use.setting) == (
        "Use quick",
        "measured",
        "cache: static, compile: decode",
    )
    assert use.gain_ms == pytest.approx(825.0)
    assert plain(use.gain) == "−825 ms a page, 75 % less"
    assert plain(use.text) == (
        "A page of 4 new tokens takes 275 ms instead of 1,100 ms, with the same tokens (of "
        "dummies)."
    )
    assert use.evidence[:2] == (
        "In every repeat 4.00 times as fast.",
        "Compilation takes 27 s in each new process.",
    )
    assert any(part.title.startswith("Launch decode as CUDA graphs") for part in use.parts)
    assert not [one for one in rest if one.base == "baseline" and "decode" in one.title]
    # It gains more, but leaves the time to one answer as it is.
    assert batch.title == "Use eight for throughput: 8 copies at once"
    assert batch.gain_ms == pytest.approx(1100 - 770 / 8)
    assert batch.gain_ms is not None
    assert use.gain_ms is not None
    assert batch.gain_ms > use.gain_ms


def test_two_rules_that_one_variant_measured_claim_its_gain_once() -> None:
    slower = replace(QUICK, decode_ms=880.0, spread=0.03)
    data = report_of(1, 3, baseline=replace(SLOW, spread=0.03), quick=slower)
    first, second = (
        rule(rule=name, title=name, cure=GRAPHS, proof=one.proof, gain_ms=gain)
        for name, gain in (("launches", 800.0), ("fuse", 60.0))
        for one in recommend(data, data.reference)
        if one.metric == "decode_ms"
    )
    noise = noise_ms(data.reference) or 0.0
    proof = replace(first.proof, gain_ms=noise + 1)
    both = listed(data, replace(first, proof=proof), replace(second, proof=proof))
    (only,) = both.entries
    assert only.confidence == "measured, no difference shown"
    assert {only.title, *(part.title for part in only.parts)} == {"fuse", "launches"}
    assert all(part.facts for part in only.parts)
    bounds = listed(data, replace(first, proof=None), replace(second, proof=None))
    assert len(bounds.entries) + bounds.left_out.count("(−") == 2


@pytest.mark.parametrize(("factor", "kept"), [(0.9, False), (1.1, True)])
def test_gains_within_the_noise_are_left_out_and_counted(factor: float, kept: bool) -> None:
    data = report_of(baseline=SLOW)
    noise = noise_ms(data.reference)
    assert noise is not None
    made = listed(data, rule(gain_ms=factor * noise))
    assert len(made.entries) == kept
    assert (made.left_out == "") == kept
    if not kept:
        assert made.left_out.startswith("Left out: Do it (−")
        assert ", within the noise of the page time (±" in made.left_out


def test_without_an_interval_nothing_is_noise() -> None:
    data = report_of(1, 1, baseline=SLOW)
    assert len(listed(data, rule(gain_ms=0.1)).entries) == 1


def test_what_was_shown_counts_however_small_and_what_took_longer_does_not() -> None:
    data = report_of(baseline=SLOW, quick=replace(QUICK, decode_ms=890.0))
    (quicker,) = (one for one in recommend(data, data.reference) if one.proof is not None)
    assert quicker.proof is not None
    assert (noise_ms(data.reference) or 0) > quicker.proof.gain_ms > 0
    assert [one.confidence for one in listed(data, replace(quicker, cure=None)).entries][-1] == (
        "measured"
    )
    longer = replace(quicker, cure=None, proof=replace(quicker.proof, verdict="slower"))
    made = listed(data, longer)
    assert [one.title for one in made.entries] == ["Use quick"]
    assert made.left_out == (
        f"Left out: {longer.title} (−11.0\N{NO-BREAK SPACE}ms), slower when tried."
    )


def test_an_entry_is_short_and_its_evidence_has_the_rest() -> None:
    (one,) = listed(report_of(baseline=SLOW), rule(cure=GRAPHS)).entries
    assert one.text == "It waits."
    assert one.evidence[:2] == ("Nothing else does (.item(), say). `that` helps.", "A fact")
    assert one.setting == "compile-decode: {cache: static, compile: decode}"
    assert plain(one.gain) == "at most −500 ms a page, 45 % less"
    assert one.confidence == "bound"
    (unknown,) = listed(report_of(baseline=SLOW), rule(gain_ms=None)).entries
    assert (unknown.gain, unknown.confidence, unknown.setting) == ("gain not known", "", "")
    assert unknown.evidence[-1] == "No setting of mfuscope tests it here."


def test_more_certain_numbers_come_apart_and_once_for_all_variants() -> None:
    data = report_of(1, 2, baseline=SLOW, quick=QUICK)
    made = found(data)
    assert [one.title for one in made.certainty] == ["Measure each page at least three times"]
    assert [part.title for part in made.certainty[0].parts] == ["baseline", "quick"]
    assert not [one for one in made.entries if one.title == made.certainty[0].title]


def test_first_comes_the_largest_known_gain_and_without_valid_numbers_better_ones() -> None:
    data = report_of(1, 2, baseline=SLOW)
    made = listed(data, rule(gain_ms=None), rule(rule="more", metric=None, gain_ms=None))
    assert _title(made.first(valid=True)) == "Do it"
    assert made.first(valid=True) is made.certainty[0]
    known = listed(data, rule(title="gain"), rule(rule="more", metric=None, gain_ms=None))
    assert _title(known.first(valid=True)) == "gain"
    assert known.first(valid=False) is known.certainty[0]
    assert listed(data).first(valid=True) is None


def _title(one: Entry | None) -> str:
    assert one is not None
    return one.title


def test_the_command_tries_what_is_listed_and_only_bounded() -> None:
    data = report_of(baseline=SLOW)
    noise = noise_ms(data.reference) or 0.0
    batch = rule(rule="batch", gain_ms=noise / 2, cure={"batch_size": 8})
    made = listed(data, rule(cure=GRAPHS), batch)
    assert "compile-decode" in made.command
    assert "batch" not in made.command
    assert listed(data, batch).command == ""


@pytest.mark.parametrize(
    ("other", "cure", "expected"),
    [
        (GRAPHS, GRAPHS, True),
        ({**GRAPHS, "compile": "all"}, GRAPHS, True),
        (GRAPHS, {**GRAPHS, "compile": "all"}, False),
        ({"cache": "static"}, GRAPHS, False),
        ({"batch_size": 4}, {"batch_size": 8}, True),
        ({"batch_size": 1}, {"batch_size": 8}, False),
        ({"resolution": "tiny"}, {"resolution": "base"}, False),
    ],
)
def test_what_follows_a_cure_does_it_or_more(
    other: dict[str, Any], cure: dict[str, Any], expected: bool
) -> None:
    assert covers({"batch_size": 1}, other, cure) == expected


DATA = report_of(baseline=SLOW)


@settings(max_examples=40)
@given(st.lists(st.floats(0.1, 1100.0) | st.none(), max_size=6))
def test_the_list_falls_and_nothing_is_lost(gains: list[float | None]) -> None:
    made = listed(DATA, *(rule(rule=f"r{i}", gain_ms=gain) for i, gain in enumerate(gains)))
    shown = [one.gain_ms for one in made.entries]
    known = [gain for gain in shown if gain is not None]
    assert known == sorted(known, reverse=True)
    assert shown == known + [None] * (len(shown) - len(known))
    noise = noise_ms(DATA.reference) or 0.0
    small = [gain for gain in gains if gain is not None and gain < noise]
    assert len(shown) == len(gains) - len(small)
    assert made.left_out.count("Do it (−") == len(small)
