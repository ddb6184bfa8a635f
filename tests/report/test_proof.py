"""Recommendations that variants tested, and the line that tests the others."""

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from checkpoints import MODELS, ROOT
from report_reader import section
from tried_data import GRAPHS, Made, report_of
from validate import validate

from mfuscope.config.settings import load_schema, resolve_settings
from mfuscope.models.spec import resolve_model
from mfuscope.planning.combinations import check_combination
from mfuscope.report.data import ReportData
from mfuscope.report.formats import plain
from mfuscope.report.head import head
from mfuscope.report.limits import stage_facts
from mfuscope.report.recommendations import Recommendation, recommend
from mfuscope.report.recommendations.advice import (
    Experiment,
    gain_text,
    proof_text,
    untested_text,
)
from mfuscope.report.recommendations.cures import compiled, fewer_pixels
from mfuscope.report.recommendations.proof import followers, prove
from mfuscope.report.recommendations.rule import Facts
from mfuscope.report.render import render

SLOW = Made()
QUICK = Made(changes=GRAPHS, decode_ms=150.0)


def one(
    data: ReportData, rule: str = "launches", variant: int = 0, metric: str = "decode_ms"
) -> Recommendation:
    found = recommend(data, data.variants[variant])
    return next(one for one in found if (one.rule, one.metric) == (rule, metric))


def test_a_measured_cure_takes_the_bound_s_place() -> None:
    data = report_of(baseline=SLOW, static=replace(SLOW, changes={"cache": "static"}), quick=QUICK)
    found = one(data)
    # Decode takes 990 ms on average, of which the device is busy for 90, and 165 in the variant.
    assert found.gain_ms == pytest.approx(900.0)
    assert found.proof is not None
    assert (found.proof.variant, found.proof.changes) == ("quick", GRAPHS)
    assert found.proof.gain_ms == pytest.approx(825.0)
    assert found.proof.of_bound == pytest.approx(825 / 900)
    assert found.proof.verdict == "faster"
    assert plain(gain_text(found, 1100.0)) == "measured: −825 ms a page, 75 % of the page"
    text = plain(proof_text(found))
    assert text.startswith(
        "Measured by quick, which changes only cache: static, compile: decode: decode takes 825 ms"
        " less a page, 83 % (95 % interval "
    )
    assert text.endswith(", 92 % of the bound of 900 ms.")


def test_a_variant_that_changes_more_or_less_proves_nothing() -> None:
    others: list[dict[str, Any]] = [
        {"cache": "static"},
        {**GRAPHS, "dtype": "fp16"},
        {**GRAPHS, "batch_size": 8},
        {"cache": "static", "compile": "all"},
        {},
    ]
    for changes in others:
        found = one(report_of(baseline=SLOW, other=replace(QUICK, changes=changes)))
        assert found.proof is None
        assert gain_text(found, 1100.0).startswith("at most −900")
        assert proof_text(found) == ""


def test_a_cure_is_measured_from_every_variant_on() -> None:
    """From `static` only the compilation is new."""
    static = replace(SLOW, changes={"cache": "static"}, decode_ms=800.0)
    data = report_of(baseline=SLOW, static=static, quick=QUICK)
    found = one(data, variant=1)
    assert found.proof is not None
    assert found.proof.gain_ms == pytest.approx((800 - 150) * 1.1)
    assert found.proof.changes == {"compile": "decode"}


def test_what_is_compiled_is_not_to_be_compiled() -> None:
    data = report_of(baseline=SLOW, quick=replace(QUICK, busy_ms=(30.0, 40.0)))
    (rest,) = (r for r in recommend(data, data.variants[1]) if r.metric == "decode_ms")
    assert (rest.rule, rest.gain_ms, rest.cure) == ("between_replays", 150.0 + 15.0 - 40.0, None)
    assert one(data, variant=1, metric="prefill_ms").cure == {"cache": "static", "compile": "all"}


@pytest.mark.parametrize(
    ("decode_ms", "spread", "gain", "text"),
    [
        (
            990.0,
            0.01,
            "measured: +99.0 ms a page",
            "takes 99.0 ms more a page, 10 % (95 % interval ",
        ),
        (900.0, 0.02, "measured: no difference shown", "no difference shown."),
        (30.0, 0.01, "measured: −957 ms a page, 87 % of the page", "more than the bound of 900 ms"),
    ],
)
def test_cures_that_bring_nothing_or_more_than_the_bound_are_said_so(
    decode_ms: float, spread: float, gain: str, text: str
) -> None:
    pages = 1 if spread > 0.01 else 3
    found = one(
        report_of(pages, baseline=SLOW, quick=replace(QUICK, decode_ms=decode_ms, spread=spread))
    )
    page_ms = 1100.0
    assert plain(gain_text(found, page_ms)) == gain
    assert text in plain(proof_text(found))


def test_too_few_values_are_no_interval() -> None:
    found = one(report_of(1, 1, baseline=SLOW, quick=QUICK))
    assert found.proof is not None
    assert (found.proof.ci95_low, found.proof.ci95_high, found.proof.verdict) == (None, None, "")
    assert plain(proof_text(found)).endswith(
        "less a page, 83 %, from too few values for an interval."
    )


def advice(cure: dict[str, Any] | None, metric: str | None, gain_ms: float | None = 500.0) -> Any:
    return Recommendation(
        rule="a_rule",
        title="Do it",
        text="",
        plain="Do it.",
        evidence=("a fact",),
        gain_ms=gain_ms,
        metric=metric,
        cure=cure,
    )


def test_a_batch_counts_with_a_page_s_share() -> None:
    """And the best of several sizes counts."""
    four = Made(changes={"batch_size": 4}, decode_ms=1000.0)
    eight = Made(changes={"batch_size": 8}, decode_ms=1600.0)
    sixteen = Made(changes={"batch_size": 16}, decode_ms=14_400.0)
    data = report_of(baseline=SLOW, four=four, eight=eight, sixteen=sixteen)
    cure = advice({"batch_size": 8}, "decode_ms")
    assert list(followers(data, data.reference, cure.cure)) == ["four", "eight", "sixteen"]
    found = prove(data, data.reference, cure).proof
    assert found is not None
    assert found.variant == "eight"
    assert found.gain_ms == pytest.approx(1.1 * (900 - 1600 / 8))
    data = report_of(baseline=SLOW, sixteen=sixteen)
    found = prove(data, data.reference, cure).proof
    assert found is not None
    assert found.gain_ms == pytest.approx(0.0)
    assert found.of_bound is None
    assert found.verdict == "no difference shown"


def test_gains_of_a_batch_are_of_one_page() -> None:
    data = report_of(
        batch=Made(changes={"batch_size": 2}),
        quick=Made(changes={"batch_size": 2, **GRAPHS}, decode_ms=150.0),
    )
    found = one(data)
    assert found.gain_ms == pytest.approx(450.0)
    assert found.proof is not None
    assert found.proof.gain_ms == pytest.approx(825.0 / 2)
    assert data.reference.ms_per_page == pytest.approx(550.0)


def test_a_resolution_of_fewer_tokens_tests_fewer_pixels() -> None:
    small = Made(changes={"resolution": "base"}, prefill_ms=60.0)
    data = report_of(baseline=SLOW, base=small)
    cure = advice({"resolution": "small"}, "prefill_ms")
    assert list(followers(data, data.reference, cure.cure)) == []  # as many tokens
    tokens = data.survey.tokens
    tokens |= {key: one._replace(prompt=111) for key, one in tokens.items() if key[0] == "base"}
    assert list(followers(data, data.reference, cure.cure)) == ["base"]
    assert list(followers(data, data.variants[1], cure.cure)) == []  # it has more tokens


def test_the_largest_gain_comes_first_measured_or_not() -> None:
    waiting = Made(busy_ms=(5.0, 90.0))
    data = report_of(baseline=waiting, quick=replace(QUICK, decode_ms=890.0))
    found = [one for one in recommend(data, data.reference) if one.metric]
    assert [(one.metric, one.proof is not None) for one in found] == [
        ("prefill_ms", False),  # at most 105 ms
        ("decode_ms", True),  # 11 ms of at most 900 ms
    ]


def test_those_not_measured_name_the_line_that_would() -> None:
    data = report_of(baseline=Made(busy_ms=(5.0, 90.0)), quick=QUICK)
    experiment = Experiment(data.command)
    decode, prefill = one(data), one(data, metric="prefill_ms")
    snippet = experiment.snippet(data.reference, prefill)
    assert snippet == "compile-all: {cache: static, compile: all}"
    assert experiment.snippet(data.reference, decode) == ""
    command = experiment.command([(data.reference, decode), (data.reference, prefill)])
    assert json.loads(shlex.split(command)[-1].removeprefix("variants=")) == {
        "baseline": {},
        "quick": GRAPHS,
        "compile-all": {"cache": "static", "compile": "all"},
    }
    assert shlex.split(command)[:-1] == ["snakemake", "--cores", "1", "--config", "repeats=3"]
    assert experiment.command([(data.reference, decode)]) == ""


def test_a_bare_command_gets_the_reference_and_the_cure() -> None:
    data = report_of(baseline=SLOW)
    command = Experiment("snakemake").command([(data.reference, one(data))])
    assert command == (
        'snakemake --config \'variants={"baseline": {}, '
        '"compile-decode": {"cache": "static", "compile": "decode"}}\''
    )


def test_a_variant_s_own_overrides_stay_in_the_line() -> None:
    eager = replace(SLOW, changes={"attention": "eager", "prompt": "Free: OCR."})
    other = replace(QUICK, changes={"dtype": "fp16"})
    data = report_of(a_b=eager, compile_decode=other)
    experiment = Experiment(data.command)
    assert experiment.snippet(data.reference, one(data)) == (
        'a-b-compile-decode: {attention: eager, prompt: "Free: OCR.", cache: static, '
        "compile: decode}"
    )
    bare = Experiment('snakemake --config \'variants={"baseline": {}, "compile-decode": {}}\'')
    assert bare.snippet(data.reference, one(data)).startswith("compile-decode-2: {")


def test_what_no_setting_tests_is_said() -> None:
    assert untested_text(advice(None, "decode_ms")) == "No setting of mfuscope tests it here."
    assert untested_text(advice(GRAPHS, "decode_ms")) == ""
    assert untested_text(advice(None, None)) == ""
    assert gain_text(advice(None, None, None), 100.0) == "more certain numbers"
    assert gain_text(advice(GRAPHS, "decode_ms", None), 100.0) == "gain not known"


def test_cures_of_fewer_pixels_go_one_mode_down() -> None:
    def cure(mode: str) -> object:
        data = report_of(1, 1, baseline=replace(SLOW, changes={"resolution": mode}))
        prefill, decode = (
            stage_facts(data.reference, stage, data.hardware, data.ceiling)
            for stage in ("prefill", "decode")
        )
        return fewer_pixels(
            Facts(data=data, variant=data.reference, prefill=prefill, decode=decode)
        )

    assert [cure(mode) for mode in ("gundam", "large", "base", "small", "tiny", "auto")] == [
        {"resolution": "base"},
        {"resolution": "base"},
        {"resolution": "small"},
        {"resolution": "tiny"},
        None,
        {"resolution": "small"},  # the pages were measured at 1024
    ]


def facts_of(data: ReportData) -> Facts:
    prefill, decode = (
        stage_facts(data.reference, stage, data.hardware, data.ceiling)
        for stage in ("prefill", "decode")
    )
    return Facts(data=data, variant=data.reference, prefill=prefill, decode=decode)


@pytest.mark.parametrize(
    "changes", [{}, {"experts": "eager"}, {"attention": "flash"}, {"cache": "static"}]
)
def test_planning_takes_what_is_to_be_compiled(changes: dict[str, Any]) -> None:
    """Each cure over the variant's own settings passes planning's checks."""
    schema = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
    for stage in ("decode", "prefill"):
        cure = compiled(facts_of(report_of(1, 1, baseline=replace(SLOW, changes=changes))), stage)
        assert cure is not None
        assert list(cure)[-1] == "compile"  # which names the variant
        given = {"model": "deepseek-ocr-nano", "images": "x", "device": "cpu", **changes, **cure}
        settings = resolve_settings(given, {}, {}, schema)
        (inference,) = settings.variants.values()
        check_combination(inference, resolve_model(inference.model, "auto", MODELS), "cpu")


def test_what_no_compiler_compiles_is_not_to_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu = facts_of(report_of(1, 1, baseline=SLOW))
    device = replace(on_gpu.data.hardware.device, kind="cpu")
    hardware = replace(on_gpu.data.hardware, device=device)
    on_cpu = replace(on_gpu, data=replace(on_gpu.data, hardware=hardware))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", {"g++": "/bin/g++"}.get)
    assert compiled(on_cpu, "decode") == GRAPHS
    monkeypatch.setattr("shutil.which", {}.get)
    assert compiled(on_cpu, "decode") is None
    assert compiled(on_gpu, "decode") == GRAPHS


def test_a_variant_of_equal_settings_is_not_suggested_again() -> None:
    data = report_of(baseline=SLOW, static=replace(SLOW, changes={"cache": "static"}), quick=QUICK)
    experiment = Experiment(data.command)
    reference, static, _ = data.variants
    decode, prefill = advice(GRAPHS, "decode_ms"), advice({**GRAPHS, "compile": "all"}, "vision_ms")
    assert experiment.snippet(reference, decode) == ""  # quick has them
    assert experiment.command([(static, decode)]) == ""
    expected = "compile-all: {cache: static, compile: all}"
    assert [experiment.snippet(v, prefill) for v in data.variants] == [expected] * 3


def test_texts_have_the_recommendations_of_the_reference_and_the_best() -> None:
    static = replace(SLOW, changes={"cache": "static"})
    data = report_of(baseline=SLOW, static=static, quick=QUICK)
    made = render(data)
    said = (
        "Recommendations for static are in report.json alone: these do the same work as baseline, "
        "and were not the fastest."
    )
    for text in (made.markdown, made.html):
        assert said in text
    listed = section(made.markdown, "What to try next")
    assert "1. **Use quick**" in listed
    assert ", on top of quick" in listed
    assert "on top of static" not in listed


def test_a_batch_is_judged_by_the_time_of_a_whole_page() -> None:
    """Its decode alone may take longer while more pages are completed."""
    two = Made(changes={"batch_size": 2}, prefill_ms=110.0, decode_ms=1830.0)
    data = report_of(baseline=replace(SLOW, prefill_ms=300.0), two=two)
    decode = prove(data, data.reference, advice({"batch_size": 8}, "decode_ms"))
    assert decode.proof is not None
    assert decode.proof.verdict == "slower"
    page = prove(data, data.reference, advice({"batch_size": 8}, "page_ms"))
    assert page.proof is not None
    assert page.proof.verdict == "faster"
    assert page.proof.gain_ms == pytest.approx(1.1 * (1200 - 970))


def test_nothing_is_smaller_than_the_smallest_mode() -> None:
    for mode, expected in (("base", True), ("tiny", False)):
        seeing = Made(changes={"resolution": mode}, busy_ms=(95.0, 850.0))
        data = report_of(1, 1, baseline=seeing)
        found = {one.rule for one in recommend(data, data.reference)}
        assert ("vision_resolution" in found) == expected


def test_programs_get_cure_and_measurement() -> None:
    data = report_of(baseline=Made(busy_ms=(5.0, 90.0)), quick=QUICK)
    found = head(data)
    validate("report", json.loads(json.dumps(found)))
    first, second = (one for one in found["variants"][0]["recommendations"] if one["cure"])
    assert first["measured"]["variant"] == "quick"
    assert first["measured"]["verdict"] == "faster"
    assert second["measured"] is None
    assert second["cure"] == {"cache": "static", "compile": "all"}


def test_settings_that_are_not_known_prove_nothing() -> None:
    data = report_of(baseline=SLOW, quick=QUICK)
    data = replace(data, settings={})
    assert one(data).proof is None
