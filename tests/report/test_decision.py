"""What decides at the top of the report: warnings, verdict, numbers; and what is folded below."""

import re
from dataclasses import replace

import pytest
from builders import a_pass, conditions, host, host_stage, model, page, run
from report_data import cpu_tables, on_cpu, repeats, tables
from report_reader import section
from tried_data import GRAPHS, Made, report_of

from mfuscope.core.records import MissingRun, SkippedPage
from mfuscope.report.data import ReportData
from mfuscope.report.formats import plain
from mfuscope.report.headline import caption, cards
from mfuscope.report.notices import notices
from mfuscope.report.render import render
from mfuscope.report.verdict import verdict_sentence

SLOW = Made()
QUICK = Made(changes=GRAPHS, decode_ms=150.0, busy_ms=(95.0, 80.0))


def lines(data: ReportData) -> list[str]:
    return [plain(one.text) for one in notices(data)]


def test_steady_runs_of_a_checkpoint_on_a_gpu_need_no_warning() -> None:
    assert lines(tables(repeats(3, model=model(weights="checkpoint"))).data) == []


def test_each_warning_is_one_line_that_links_to_its_explanation() -> None:
    data = report_of(1, 3, baseline=replace(SLOW, spread=0.3))
    gap = MissingRun(variant="baseline", image="0.png", repeat=7, reason="it failed")
    skipped = SkippedPage(image="b.png", path="b.png", reason="no image")
    data = replace(data, missing=(gap,), skipped=(skipped,))
    assert lines(data) == [
        "Headline numbers withheld: baseline (too uncertain).",
        "Dummy weights: times and FLOPs are real, the text is not.",
        "Missing: 1 of 4 runs and 1 unreadable page. All numbers are of the rest.",
        "Unsteady: 2 of 2 times vary by more than 10 % between repeats.",
    ]
    made = render(data)
    above = made.markdown.split("## Headline")[0]
    for one in notices(data):
        assert plain(one.text) in plain(above)
        assert f'<li><a href="#{one.anchor}">' in made.html
        assert f'id="{one.anchor}"' in made.html


@pytest.mark.parametrize(("starved", "said"), [(1, False), (2, True)])
def test_a_host_that_was_busy_elsewhere_is_said_above_everything(starved: int, said: bool) -> None:
    waits = [50.0] * starved + [0.0] * (3 - starved)
    timed = [a_pass(host=host(prefill=host_stage(run_queue_wait_ms=ms))) for ms in waits]
    data = tables([run(repeat=i, timed=one) for i, one in enumerate(timed)]).data
    told = f"Starved: the measuring thread waited for a CPU in {starved} of 3 runs. What limits "
    assert any(line.startswith(told) for line in lines(data)) is said
    # On a CPU that did other work as well, no kernel is to blame.
    slow = [
        replace(
            one,
            passes=[
                replace(a, host=host(prefill=host_stage(run_queue_wait_ms=ms))) for a in one.passes
            ],
        )
        for one, ms in zip(on_cpu(n=3), waits, strict=True)
    ]
    data = tables(slow, **cpu_tables()).data
    unknown = "its thread waited for a CPU in most runs."
    assert plain(verdict_sentence(data)).endswith(unknown) is said


def test_stand_ins_and_cpus_are_told_apart() -> None:
    nano = tables(on_cpu(model=model(name="deepseek-ocr-nano")), **cpu_tables()).data
    assert lines(nano)[0] == (
        "A small stand-in for DeepSeek-OCR measured on a CPU: its times say nothing of "
        "DeepSeek-OCR."
    )
    full = tables(on_cpu(), **cpu_tables()).data
    assert lines(full)[0] == "Measured on a CPU: the times say nothing of a GPU."


def test_throttled_runs_are_counted_once() -> None:
    hot = conditions(throttle_reasons=["sw_power_cap", "hw_slowdown"])
    data = tables(
        [run(9), run(9, repeat=1), run(9, repeat=2, timed=a_pass(9, conditions_after=hot))]
    )
    assert "Throttled in 1 run (hw_slowdown and sw_power_cap)." in lines(data.data)


def test_the_verdict_says_what_limits_and_the_best_and_how_sure() -> None:
    noisy = replace(QUICK, spread=0.02)
    said = plain(verdict_sentence(report_of(1, 3, baseline=SLOW, quick=noisy)))
    assert said.startswith(
        "The host limits baseline: decode takes 90 % of a page of 4 new tokens, and the device is "
        "busy for only 10 % of decode. With quick (cache: static, compile: decode) it is 4.00 "
        "times as fast (95 % interval 3."
    )
    assert said.endswith("), 250 ms a page instead of 1,000 ms, with the same tokens (of dummies).")
    assert said.count(". ") == 1
    batch = Made(changes={"batch_size": 8}, prefill_ms=300.0, decode_ms=1000.0)
    said = verdict_sentence(report_of(baseline=SLOW, quick=QUICK, eight=batch))
    assert "Of 2 variants tried, quick (" in said
    alone = "completes 6.15 times as many pages/s, of identical pages."
    assert f" Instead of it, eight (batch_size: 8) {alone}" in said
    assert f" With eight it {alone}" in verdict_sentence(report_of(baseline=SLOW, eight=batch))


@pytest.mark.parametrize(
    ("busy_ms", "decode_ms", "said"),
    [
        ((95.0, 90.0), 900.0, "The host limits deepseek-ocr"),
        ((95.0, 880.0), 900.0, "Inefficient kernels limit deepseek-ocr"),
        ((1.0, 2.0), 2.5, "Memory bandwidth limits deepseek-ocr"),
    ],
)
def test_the_verdict_names_what_limits(
    busy_ms: tuple[float, float], decode_ms: float, said: str
) -> None:
    made = Made(busy_ms=busy_ms, decode_ms=decode_ms, prefill_ms=min(100.0, decode_ms / 2))
    assert verdict_sentence(report_of(baseline=made)).startswith(said)


def test_no_difference_is_the_verdict_where_none_was_shown() -> None:
    same = Made(changes={"cache": "static"}, spread=0.02, decode_ms=901.0)
    said = verdict_sentence(report_of(1, 3, baseline=replace(SLOW, spread=0.03), same=same))
    assert said.endswith(" of decode. No variant was shown to be faster than baseline.")


def test_each_number_has_one_interval_and_the_caption_says_of_what() -> None:
    runs = [
        run(
            9 + place,
            image=f"{place}.png",
            repeat=repeat,
            page=page(path=f"{place}.png"),
            timed=a_pass(9 + place, prefill_ms=50.0 + place + repeat),
        )
        for place in range(3)
        for repeat in range(3)
    ]
    data = tables(runs).data
    shown = {card.label: card for card in cards(data, data.reference)}
    assert list(shown) == [
        "Page, 9 to 11 new tokens",
        "Prefill",
        "Time per output token (TPOT)",
        "Decode",
        "MFU of prefill",
        "MBU of decode",
        "Energy per page",
        "How sure",
    ]
    stat = data.reference.headline["decode_tokens_per_s"]
    assert shown["Decode"].cell.text == f"{stat.total:.1f}"
    assert "±" not in "".join(card.cell.sub for card in shown.values())
    assert all(len(card.cell.sub.splitlines()) == 1 for card in shown.values())
    assert plain(caption(data, data.reference)) == (
        "Times of a page of 9 to 11 new tokens. Below each number: its 95 % interval over "
        "3 pages, 3 repeats each. Repeat by repeat a page takes 233 ms, 234 ms and 235 ms."
    )


def test_absent_numbers_say_why() -> None:
    data = tables(on_cpu(), **cpu_tables()).data
    energy = next(card for card in cards(data, data.reference) if card.unit == "J")
    assert energy.cell.note == "not a GPU"
    made = render(data)
    assert "- Energy per page: – (not a GPU)" in made.markdown
    assert "<small><bdi>not a GPU</bdi></small>" in made.html


def test_both_texts_have_the_same_order() -> None:
    made = render(report_of(baseline=SLOW, quick=QUICK))
    titles = [
        "Headline",
        "What was tried",
        "What to try next",
        "Where the time goes",
        "Roofline",
        "Model FLOPs against hardware",
        "Decode steps",
        "Operators and kernels",
        "Model FLOPs utilisation (MFU)",
        "Steadiness",
        "FLOPs behind it",
        "Checks",
        "Assumptions, and what was not measured",
        "Reproduce",
    ]
    assert re.findall(r"^## (.*)$", made.markdown, re.MULTILINE) == titles
    found = [re.sub(r" \(\d.*", "", text) for text in re.findall(r"<h2[^>]*>(.*?)</h2>", made.html)]
    assert found == titles


def test_what_is_folded_is_linked_from_within() -> None:
    """So that a browser opens it for a link."""
    text = render(report_of(baseline=SLOW)).html
    folds = re.findall(
        r'<details class="part">\n<summary><h2>.*?</h2></summary>\n<div id="(.*?)">', text
    )
    assert folds == ["mfu", "steadiness", "flops", "checks", "not-measured", "reproduce"]
    assert all(f'<li><a href="#{name}">' in text for name in folds)


def test_names_in_the_decision_are_text() -> None:
    nasty = '<b>"x"</b>&`|'
    made = render(report_of(1, 3, **{"baseline": SLOW, nasty: QUICK}))
    assert "<b>" not in made.html
    assert "&lt;b&gt;&#34;x&#34;&lt;/b&gt;&amp;`|" in made.html
    assert nasty not in section(made.markdown, "Headline")
