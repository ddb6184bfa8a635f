"""Answers of other lengths, and the length that every page time is of."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders import a_pass, cache_of, calibration, generic_calibration, language, model, page, run
from matplotlib.figure import Figure
from report_data import repeats, tables, texts
from report_reader import section
from tried_data import Made, report_of

from mfuscope.core import records
from mfuscope.flops import architecture
from mfuscope.metrics.workload import answer_flops
from mfuscope.report.answers import LENGTHS, half, lengths, limits, mfu, page_ms, sentences
from mfuscope.report.figures.answer_length import paint_answer_length
from mfuscope.report.formats import milliseconds, percent
from mfuscope.report.headline import headline
from mfuscope.report.render import render
from mfuscope.report.side_by_side import comparison
from mfuscope.report.wording import a_page, answer_text, facts, time_sentence


def measured(**new: int) -> list[records.Run]:
    """Pages with answers of these lengths, two repeats of each; no two times are alike."""
    return [
        run(
            tokens,
            image=f"{name}.png",
            repeat=repeat,
            page=page(path=f"{name}.png"),
            timed=a_pass(
                tokens,
                prefill_ms=90.0 + 7 * place + 3 * repeat,
                decode_ms=(tokens - 1) * (11.0 + place + 0.5 * repeat),
            ),
        )
        for place, (name, tokens) in enumerate(new.items())
        for repeat in range(2)
    ]


@pytest.mark.parametrize("new", [{"a": 33}, {"a": 64, "b": 64}, {"a": 12, "b": 40, "c": 101}])
def test_the_measured_length_gives_the_measured_page(new: dict[str, int]) -> None:
    (variant,) = tables(measured(**new)).data.variants
    steps = sum(tokens - 1 for tokens in new.values())
    assert variant.tpot_ms is not None
    decode = sum((t - 1) * (11.25 + place) for place, t in enumerate(new.values()))
    assert variant.tpot_ms == pytest.approx(decode / steps)
    assert page_ms(variant, variant.answer.mean) == pytest.approx(variant.page_ms)
    at = half(variant)
    assert at is not None
    assert page_ms(variant, at) == pytest.approx(2 * variant.prefill_ms)


def test_mfu_at_the_measured_length_is_the_headline_s() -> None:
    for made in (tables(measured(a=64, b=64)).data, batch()):
        variant = made.variants[-1]
        new = variant.answer.most
        counted = {**variant.answer.flops, new: answer_flops(calibration(), new)}
        variant = replace(variant, answer=replace(variant.answer, flops=counted))
        assert mfu(made, variant, new) == pytest.approx(variant.stats["mfu_model"].value)


def batch() -> Any:
    return report_of(baseline=Made(), eight=Made(changes={"batch_size": 8}))


def test_flops_grow_with_the_context() -> None:
    for window in (None, 20):
        decoder = language(window=window, sliding_layers=6 if window else 0)
        counted = calibration(cache=cache_of(decoder))
        for new in (1, 2, 15, 22, 300):
            steps = (
                sum(architecture.decode_flops(decoder, 278 + 1 + i, 278).values())
                for i in range(new - 1)
            )
            expected = counted.prefill_total["counted"] + sum(steps)
            assert answer_flops(counted, new) == pytest.approx(expected, rel=1e-12)
    # 1000 FLOPs at 279 tokens, 10 more with each.
    assert answer_flops(generic_calibration(), 4) == 10**12 + 1000 + 1010 + 1020


def test_the_table_ends_where_the_model_has_no_more_positions() -> None:
    data = tables(measured(a=64)).data
    assert list(data.variants[0].answer.flops) == [256, 2048, 8192 - 278]
    assert "The range ends at 7,914 new tokens" in limits(data)
    rows = [[cell.text for cell in row[1:]] for row in lengths(data).rows]
    tpot, prefill = 11.25, 91.5
    assert rows[0][:3] == ["256", "2,960\N{NO-BREAK SPACE}ms", "96.9\N{NO-BREAK SPACE}%"]
    assert 255 * tpot + prefill == pytest.approx(2960.25)
    assert rows[-1][:2] == ["7,914", "89.1\N{NO-BREAK SPACE}s"]
    for positions, last in ((None, 8192), (32768, 8192), (300, 22)):
        runs = [replace(one, model=model(positions=positions)) for one in measured(a=4)]
        counted = [calibration(model=runs[0].model)]
        answer = tables(runs, calibrations=counted).data.variants[0].answer
        assert max(answer.flops) == last
        assert set(answer.flops) - {last} <= set(LENGTHS)


def test_every_page_time_says_its_length() -> None:
    data = report_of(baseline=Made(), quick=Made(changes={"cache": "static"}, decode_ms=150.0))
    made = render(data)
    length = "a page of 4 new tokens"
    head = section(made.markdown, "Headline")
    assert f"of {length}, and the device is busy" in head
    assert f"times of {length}." in head
    assert "- Page, 4 new tokens: **1,100** ms" in head
    assert "A page of 4 new tokens takes 275 ms instead of" in made.markdown
    assert f"of the time for {length}" in section(made.markdown, "Where the time goes")
    assert "(4 new tokens a page; " in comparison(data).caption
    assert "Time of a page (4 new tokens) on one scale" in made.html
    assert "with answers of 4 new tokens" in made.stakeholder


def test_lengths_that_differ_are_a_range_with_its_mean() -> None:
    data = tables(measured(a=12, b=40)).data
    (variant,) = data.variants
    assert answer_text(variant.answer) == "12 to 40 new tokens"
    assert "On average a page of 12 to 40 new tokens takes " in time_sentence(variant)
    assert dict(facts(data))["Answers"] == "12 to 40 new tokens, mean 26.0"
    assert a_page(replace(variant, batch_size=8)) == (
        "a batch of 8 copies of a page of 12 to 40 new tokens"
    )
    one = replace(variant.answer, least=1, most=1)
    assert answer_text(one) == "1 new token"


def test_answers_of_one_token_have_no_tpot() -> None:
    runs = [run(1, timed=a_pass(1, decode_ms=0.5), traced=a_pass(1))]
    data = tables(runs).data
    assert (data.variants[0].tpot_ms, half(data.variants[0]), sentences(data)) == (None, None, [])
    assert "no decode step" in paint_answer_length(Figure(), data, True)
    table = headline(data)
    (row,) = table.rows
    assert row[table.columns.index("Time per output token (TPOT), ms")].absent


def test_the_figure_marks_what_was_measured_and_where_decode_takes_half() -> None:
    data = tables(measured(a=64)).data
    figure = Figure()
    assert paint_answer_length(figure, data, True) == ""
    (axes,) = figure.axes
    lines = {str(line.get_label()): line for line in axes.lines}
    points: dict[str, Any] = {
        name: (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for name, line in lines.items()
    }
    at = 1 + 91.5 / 11.25
    assert list(points) == [
        "page",
        "prefill",
        "decode",
        "decode takes half: 9 new tokens",
        "measured",
    ]
    assert points["decode takes half: 9 new tokens"] == (
        pytest.approx([at]),
        pytest.approx([2 * 91.5]),
    )
    assert points["measured"] == (pytest.approx([64.0]), pytest.approx([800.25]))
    new, ms = points["page"]
    assert (new[0], ms[0]) == pytest.approx((1.0, 91.5))
    assert (new[-1], ms[-1]) == pytest.approx((7914.0, 91.5 + 7913 * 11.25))
    assert axes.get_xlim()[1] == 7914
    later, decode = points["decode"]
    assert decode == pytest.approx((later - 1) * 11.25)
    two = Figure()
    assert paint_answer_length(two, batch(), False) == ""
    labels = {str(line.get_label()) for line in two.axes[0].lines}
    assert labels == {"baseline", "eight", "decode takes half", "measured"}
    assert two.axes[0].get_ylabel() == "ms a page (a batch ÷ its copies)"


def test_a_page_of_a_batch_has_its_share() -> None:
    data = batch()
    alone, eight = data.variants
    assert eight.batch_size == 8
    assert page_ms(eight, eight.answer.mean) == pytest.approx(eight.page_ms / 8)
    figure = Figure()
    assert paint_answer_length(figure, data, True) == ""
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    for variant in (alone, eight):
        first = np.asarray(lines[variant.name].get_ydata())[0]
        assert first == pytest.approx(variant.prefill_ms / variant.batch_size)
    measured = np.asarray(lines["measured"].get_ydata())
    assert measured == pytest.approx([alone.ms_per_page, eight.ms_per_page])
    assert lines["baseline"].get_color() != lines["eight"].get_color()
    table = lengths(data)
    assert table.caption.endswith("(eight: batch time ÷ copies)")
    cells = {row[0].text: [cell.text for cell in row[2:]] for row in table.rows}
    steps = (7914 - 1) * (eight.tpot_ms or 0.0)
    assert cells["eight"][0] == milliseconds((eight.prefill_ms + steps) / 8)
    assert cells["eight"][1] == percent(steps / (eight.prefill_ms + steps), 3)


def test_both_formats_have_the_lengths() -> None:
    made = texts(repeats())
    assert "Page time by answer length" in made.html
    text = section(made.markdown, "Answers of other lengths")
    assert "results/figures/answer_length.svg" in text
    assert "- TPOT 20.8 ms; decode takes more than half of a page from 4 new tokens on." in text
    assert (
        "The KV cache grows with the answer, so steps of long answers can take longer than shown"
        in text
    )
