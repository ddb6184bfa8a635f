"""What was tried: the variants beside the reference, in tables and sentences."""

from dataclasses import replace

import pytest
from report_data import repeats, texts
from report_reader import Reader, section
from tried_data import GRAPHS, Made, report_of

from mfuscope.compare.ratios import Compared, among
from mfuscope.report.best import best_sentences, remarks
from mfuscope.report.cells import Cell, Table
from mfuscope.report.data import ReportData
from mfuscope.report.definitions import assumptions
from mfuscope.report.formats import plain
from mfuscope.report.head import head
from mfuscope.report.render import render
from mfuscope.report.side_by_side import batch_statement, resources
from mfuscope.report.side_by_side import comparison as compared
from mfuscope.report.tried import WORK, fastest, highest_throughput, same_work

SLOW = Made()
QUICK = Made(changes=GRAPHS, decode_ms=150.0, busy_ms=(95.0, 80.0), compile_s=27.0)
EIGHT = Made(changes={**GRAPHS, "batch_size": 8}, prefill_ms=300.0, decode_ms=400.0)
SAME = Made(changes={"cache": "static"}, spread=0.02, decode_ms=901.0)


def cell(table: Table, row: str, column: str) -> Cell:
    found = next(one for one in table.rows if one[0].text == row)
    return found[table.columns.index(column)]


def all_of_them() -> ReportData:
    return report_of(baseline=SLOW, same=SAME, quick=QUICK, eight=EIGHT)


def test_the_reference_has_its_own_values_and_variants_their_ratios() -> None:
    table = compared(all_of_them())
    assert [row[0].text for row in table.rows] == ["baseline", "same", "quick", "eight"]
    assert [row[0].sub for row in table.rows] == [
        "the reference",
        "cache: static",
        "cache: static, compile: decode",
        "cache: static, compile: decode, batch_size: 8",
    ]
    assert "paired over 3 pages" in table.caption
    assert cell(table, "baseline", "Page").text == "1,100\N{NO-BREAK SPACE}ms"
    assert cell(table, "baseline", "Pages/s").text == "0.909"
    assert cell(table, "quick", "Page").text == "×0.250"
    assert cell(table, "quick", "Tokens/s").text == "×6.00"
    assert cell(table, "quick", "MFU of a page").text == "×4.00"
    assert cell(table, "eight", "MFU of a page").text == "×11.4"
    assert cell(table, "quick", "Peak memory").text == "×1.00"
    assert cell(table, "quick", "Verdict") == Cell(
        "faster", sub="4.00 times as fast", tone="better"
    )


def test_no_difference_is_said_where_the_interval_holds_1() -> None:
    table = compared(report_of(baseline=SLOW, same=replace(SAME, decode_ms=900.0, spread=0.05)))
    assert cell(table, "same", "Verdict").text == "no difference shown"
    prefill = cell(table, "same", "Prefill")  # of all pages the same, but not of all repeats
    assert (prefill.text, prefill.tone) == ("×1.00", "same")
    assert plain(prefill.sub) == "0.96 to 1.04"
    noisy = compared(report_of(1, baseline=SLOW, same=SAME))
    assert "one page, 3 repeats" in noisy.caption
    page = cell(noisy, "same", "Page")
    assert page.sub.startswith("0.9")
    assert page.tone == "same"


def test_a_ratio_s_interval_beyond_tenfold_is_not_shown() -> None:
    few = compared(
        report_of(1, 2, baseline=replace(SLOW, spread=0.5), same=replace(SAME, spread=0.4))
    )
    page = cell(few, "same", "Page")
    assert (page.sub.replace("\N{NO-BREAK SPACE}", " "), page.tone) == ("too few to tell", "same")


def test_slower_variants_are_called_so() -> None:
    table = compared(report_of(baseline=QUICK, eager=SLOW))
    assert cell(table, "eager", "Verdict") == Cell("slower", sub="4.00 times as long", tone="worse")


def test_one_page_measured_once_has_ratios_but_no_verdict() -> None:
    data = report_of(1, 1, baseline=SLOW, quick=QUICK)
    table = compared(data)
    assert cell(table, "quick", "Verdict").text == "not known"
    assert cell(table, "quick", "Page") == Cell(
        "×0.250", "number", "too few pages or repeats for an interval"
    )
    (sentence,) = best_sentences(data)
    assert sentence == (
        "Whether a variant is faster than baseline is not known: too few pages or repeats for an "
        "interval."
    )
    assert fastest(data) is None


def test_utilisation_and_resources_stand_beside_the_reference_s() -> None:
    table = resources(all_of_them())
    assert cell(table, "baseline", "Busy in decode").text == "9.1\N{NO-BREAK SPACE}%"
    assert cell(table, "baseline", "Kernels a step").text == "700"
    assert cell(table, "quick", "MBU of decode").text == "×6.00"
    assert cell(table, "quick", "Compilation, s").text == "27.0"
    assert cell(table, "eight", "Energy a page").text == "×0.125"
    kernels = cell(table, "quick", "Kernels a step")
    assert (kernels.text, kernels.tone) == ("×1.00", "same")


def test_the_pages_that_both_have_are_counted() -> None:
    data = report_of(baseline=SLOW, same=SAME, quick=QUICK)
    samples = {name: dict(found) for name, found in data.samples.items()}
    del samples["quick"]["1.png"]
    assert "paired over 2 to 3 pages" in compared(replace(data, samples=samples)).caption
    del samples["same"]["1.png"]
    assert "paired over 2 pages" in resources(replace(data, samples=samples)).caption


def test_columns_that_nothing_was_measured_for_are_left_out() -> None:
    data = report_of(baseline=SLOW, same=SAME)
    assert "Compilation, s" not in resources(data).columns
    assert "Energy a page" in resources(data).columns


def test_the_best_variants_are_named_with_their_factor() -> None:
    data = all_of_them()
    quick, eight = best_sentences(data)
    assert quick == (
        "Fastest of what was tried: quick (cache: static, compile: decode) takes "
        "275\N{NO-BREAK SPACE}ms for a page of 4 new tokens instead of 1,100\N{NO-BREAK SPACE}ms: "
        "4.00 times as fast, with the same tokens (of dummies)."
    )
    assert (
        "completes 10.4 pages/s (4 new tokens each) instead of 0.909: 11.4 times as many" in eight
    )
    assert eight.endswith("throughput of identical pages, no scheduler.")


def test_other_tokens_are_said() -> None:
    data = report_of(baseline=SLOW, quick=replace(QUICK, tokens="b" * 64))
    assert best_sentences(data)[0].endswith(
        "4.00 times as fast, with other tokens: check the text."
    )
    assert cell(compared(data), "quick", "Same tokens").text == "no"


def test_a_slower_variant_is_not_praised() -> None:
    data = report_of(baseline=QUICK, eager=SLOW)
    assert best_sentences(data) == ["No variant was shown to be faster than baseline."]
    assert (fastest(data), highest_throughput(data)) == (None, None)


def test_variants_of_one_batch_size_are_compared_by_their_time() -> None:
    eight = {"batch_size": 8}
    data = report_of(batch=Made(changes=eight), quick=Made(changes=eight | GRAPHS, decode_ms=200.0))
    assert fastest(data) is data.tried[0]
    assert highest_throughput(data) is None
    assert cell(compared(data), "quick", "Page").sub == ""
    assert "a batch of 8 copies of a page of 4 new tokens" in section(
        render(data).markdown, "Headline"
    )


def test_a_batch_says_what_its_times_mean() -> None:
    data = all_of_them()
    statement = batch_statement(data)
    assert "eight (8 copies of a page). Their times are of the whole batch" in statement
    made = render(data)
    assert statement in section(made.markdown, "What was tried")
    assert made.html.count("Their times are of the whole batch") == 1
    assert cell(compared(data), "eight", "Page").sub == "for 8 copies"
    assert cell(compared(data), "eight", "Verdict").sub == "11.4 times as many"
    assert assumptions(data)[0].endswith("batch size 1 and 8.")
    alone = report_of(baseline=SLOW)
    assert batch_statement(alone) == ""
    assert assumptions(alone)[0].endswith("batch size 1.")


def test_one_variant_names_the_command_that_tries_more() -> None:
    made = texts(repeats())
    for text in (section(made.markdown, "What was tried"), made.html):
        assert "Only the reference was measured." in text
        assert "snakemake --configfile config/what-if.yaml" in text
    assert "the reference:" not in made.markdown
    assert "Each variant" not in made.html


def test_both_formats_have_the_tables() -> None:
    made = render(all_of_them())
    reader = Reader(made.html)
    for caption in ("Each variant ÷ the reference", "Utilisation, energy and compilation"):
        shown = reader.grid(caption)
        assert [row[0].split("cache")[0] for row in shown.rows[2:]] == ["same", "quick", "eight"]
        assert caption in section(made.markdown, "What was tried")
    assert "| quick (cache: static, compile: decode) | faster (4.00 times as fast) |" in (
        made.markdown
    )
    assert '<td class="better">faster<small>4.00 times as fast</small></td>' in made.html


def test_settings_are_shown_as_they_are_written() -> None:
    changes = {"prompt": "<b>x</b> " * 30, "ignore_eos": False, "compile": ""}
    data = report_of(baseline=SLOW, other=replace(SAME, changes=changes))
    sub = cell(compared(data), "other", "Verdict"), compared(data).rows[1][0].sub
    assert "ignore_eos: false" in sub[1]
    assert "compile: not set" in sub[1]
    assert len(sub[1]) < 200
    assert "<b>x" not in render(data).html


SHORT = Made(changes={"max_new_tokens": 2}, decode_ms=100.0)


def test_other_work_is_never_the_best() -> None:
    for name in WORK:
        data = report_of(baseline=SLOW, short=replace(SHORT, changes={name: "another"}))
        assert not same_work(data, data.tried[0])
        assert fastest(data) is None
    data = report_of(baseline=SLOW, short=SHORT, quick=QUICK)
    assert (best := fastest(data)) is not None
    assert best.variant.name == "quick"
    assert best_sentences(data)[1] == (
        "Other work than that of baseline, so not compared: short (max_new_tokens: 2)."
    )
    assert cell(compared(data), "short", "Verdict") == Cell(
        "faster", sub="5.00 times as fast\nother work"
    )
    alone = report_of(baseline=SLOW, short=SHORT)
    assert best_sentences(alone)[0] == "No variant was tried that does the same work as baseline."
    many = report_of(baseline=SLOW, many=Made(changes={**SHORT.changes, "batch_size": 8}))
    assert highest_throughput(many) is None


def test_other_numbers_of_tokens_are_other_work() -> None:
    data = report_of(baseline=SLOW, quick=QUICK)
    tokens = data.survey.tokens
    tokens["quick", "0.png"] = tokens["quick", "0.png"]._replace(new_least=2)
    assert fastest(data) is None


@pytest.mark.parametrize(
    ("same", "said"),
    [(False, "with other tokens: check the text."), (None, "to be the same: check the text.")],
)
def test_another_text_is_to_be_checked_first(same: bool | None, said: str) -> None:
    data = report_of(baseline=SLOW, quick=QUICK)
    data = replace(data, tried=(replace(data.tried[0], same_tokens=same),))
    assert best_sentences(data)[0].endswith(said)


def test_the_fastest_with_the_same_tokens_is_named_beside_one_with_others() -> None:
    other = Made(changes={"dtype": "fp16"}, decode_ms=100.0, tokens="b" * 64)
    data = report_of(baseline=SLOW, quick=QUICK, other=other)
    first, second = best_sentences(data)
    assert remarks(data) == [second]
    assert remarks(report_of(baseline=SLOW, quick=QUICK)) == []
    assert first.startswith("Fastest of what was tried: other (dtype: fp16) takes 220")
    assert second.startswith("Fastest with the same tokens: quick (cache: static, compile: decode)")


def test_the_best_of_several_needs_a_wider_interval() -> None:
    found = Compared(ratio=0.9, ci95_low=0.9 / 1.1, ci95_high=0.9 * 1.1, n=3)
    assert among(found, 1) == found
    wider = among(found, 3)  # Student's t at 2 degrees of freedom: 7.649 instead of 4.303
    assert wider.ci95_high == pytest.approx(0.9 * 1.1 ** (7.6488 / 4.3027), rel=1e-4)
    assert wider.ci95_low == pytest.approx(0.9 / 1.1 ** (7.6488 / 4.3027), rel=1e-4)
    assert among(replace(found, ci95_low=1e-200, ci95_high=1e200), 3).ci95_low is None


def test_a_best_that_chance_may_bring_is_not_named() -> None:
    close = Made(changes={"cache": "static"}, decode_ms=870.0)

    assert fastest(report_of(1, baseline=SLOW, close=close)) is not None
    others = {f"v{i}": replace(SLOW, changes={"threads": i}) for i in range(1, 6)}
    data = report_of(1, 3, **{"baseline": SLOW, "close": close, **others})
    assert fastest(data) is None
    assert best_sentences(data) == [
        "No variant was shown to be faster than baseline: the best of 6 may look so by chance."
    ]


def test_programs_get_the_best_variants() -> None:
    found = head(all_of_them())["tried"]
    assert found["fastest"]["variant"] == "quick"
    assert found["fastest"]["changes"] == GRAPHS
    assert found["fastest"]["ratio"] == pytest.approx(0.25)
    assert found["throughput"]["variant"] == "eight"
    assert len(found["sentences"]) == 2
    alone = head(report_of(baseline=SLOW))["tried"]
    assert alone == {"sentences": [], "fastest": None, "throughput": None}
