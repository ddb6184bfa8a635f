"""The page for readers without technical background: what it says, and that both twins say it."""

import html
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import View, launched, opened, printed, problems, require_chromium
from builders import a_pass, model, page, run
from report_data import SETTINGS, cpu_tables, on_cpu, repeats, tables
from tried_data import GRAPHS, Made, report_of

from mfuscope.metrics.statistics import ALL
from mfuscope.report.data import ReportData
from mfuscope.report.formats import plain as without_nbsp
from mfuscope.report.recommendations import Recommendation
from mfuscope.report.render import environment
from mfuscope.report.spread import unsteady
from mfuscope.report.stakeholder import OnePage, one_page, steps
from mfuscope.report.stakeholder.certainty import confidence
from mfuscope.report.validity import steadiness

SLOW = Made()
QUICK = Made(changes=GRAPHS, decode_ms=150.0, busy_ms=(95.0, 80.0), compile_s=27.0)
EIGHT = Made(changes={"batch_size": 8}, prefill_ms=300.0, decode_ms=400.0)
NASTY = "<script>alert(1)</script> | `id` *x* _y_"


def twins(said: OnePage) -> tuple[str, str]:
    """Markdown and HTML."""
    found = (environment().get_template(f"stakeholder.{kind}.j2") for kind in ("md", "html"))
    markdown, page = (template.render({"plain": said}) for template in found)
    return markdown, page


class _Words(HTMLParser):
    """The text of a body."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(text.partition("<body>")[2])

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("bdi", "strong"):
            self.text += " "


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[^\W_]+(?:[.,][^\W_]+)*|%", text))


def by_name(said: OnePage, label: str) -> dict[str, str]:
    """A row's numbers by setup."""
    row = next(row for row in said.rows if row.label.startswith(label))
    return {one.name: f.line for one, f in zip(said.setups, row.figures, strict=True)}


@pytest.fixture(scope="module")
def tried() -> ReportData:
    return report_of(baseline=SLOW, quick=QUICK, eight=EIGHT)


@pytest.fixture(scope="module")
def alone() -> ReportData:
    return report_of(baseline=SLOW)


def test_the_reference_and_the_best_stand_side_by_side(tried: ReportData) -> None:
    said = one_page(tried)
    assert [(one.name, one.role) for one in said.setups] == [
        ("baseline", "As it is"),
        ("quick", "Fastest, same answers"),
        ("eight", "Most pages, 8 copies at once"),
    ]
    # Pages of 1.0, 1.1 and 1.2 s: 0.1 s / sqrt(3) / 1.1 s x 4.303 = 0.226, of the logarithm.
    assert by_name(said, "Pages an hour") == {
        "baseline": "3,300 (2,600 to 4,100)",
        "quick": "13,100 (10,400 to 16,400)",
        "eight": "37,000 (30,000 to 47,000)",
    }
    assert by_name(said, "Seconds")["eight"] == "0.77 (0.61 to 0.97)"
    assert said.speed == (
        "About 3,300 pages an hour as it is, with answers of 4 new tokens (2,600 to 4,100), about "
        "13,100 with quick (10,400 to 16,400)."
    )


def test_numbers_are_total_work_by_total_time() -> None:
    made = tables(
        [
            r
            for i, ms in enumerate((50.0, 60.0, 70.0))
            for r in repeats(3, image=f"{i}.png", timed={"prefill_ms": ms})
        ],
        settings=SETTINGS | {"cost_per_hour": 2.5},
    )
    overall = made.summary[made.summary["image"] == ALL].set_index("metric")
    total = {
        name: float(overall[name]["pages_per_s"])
        for name in ("total", "total_ci95_low", "total_ci95_high")
    }
    rows = {row.label: row.figures[0] for row in one_page(made.data).rows}
    hour = [3600 * value for value in total.values()]

    def read(label: str) -> list[float]:
        text = f"{rows[label].text} to {rows[label].ends}".replace(",", "")
        return [float(part) for part in text.split(" to ")]

    assert read("Pages an hour") == pytest.approx(hour, rel=0.05)
    bought = read("Pages per unit of currency, at 2.5 an hour")
    assert bought == pytest.approx([value / 2.5 for value in hour], rel=0.05)
    seconds = read("Seconds until a page is done")
    expected = [1 / total[name] for name in ("total", "total_ci95_high", "total_ci95_low")]
    assert seconds == pytest.approx(expected, rel=0.05)
    # 12.5 J in every pass: 3.6 MJ / 12.5 J, without a spread.
    assert rows["Pages per kWh of the device"].line == "288,000"


def test_rows_without_a_number_are_left_out() -> None:
    said = one_page(tables(on_cpu(), **cpu_tables()).data)
    assert [row.label for row in said.rows] == ["Pages an hour", "Seconds until a page is done"]


def test_what_breaks_a_rule_of_validity_gets_the_reason_and_no_number() -> None:
    wild = Made(spread=1.2)
    data = report_of(1, 2, baseline=wild)
    said = one_page(data)
    assert said.speed.startswith("baseline gets no number: too uncertain: over 2 repeats")
    assert (said.rows, said.parts, said.level) == ([], [], "low")
    assert "No time is given, as none holds." in twins(said)[0]
    assert not any("%" in step.brings for step in said.steps)


def test_a_setup_without_numbers_has_a_note() -> None:
    """Unlike pages: no page time holds for all, and yet each is four times as fast."""
    runs = [
        run(
            variant=name,
            image=f"{i}.png",
            repeat=repeat,
            page=page(path=f"{i}.png"),
            timed=a_pass(prefill_ms=ms * factor, decode_ms=ms * factor * (1 + 0.01 * repeat)),
        )
        for name, factor in (("baseline", 4.0), ("quick", 1.0))
        for i, ms in enumerate((50.0, 100.0, 250.0))
        for repeat in range(3)
    ]
    said = one_page(tables(runs).data)
    assert said.speed.startswith("baseline gets no number: too uncertain: over 3 pages")
    assert said.notes[0].startswith("quick gets no number: too uncertain: over 3 pages")
    assert said.steps[0].brings == "4.00 times the pages of baseline"
    assert said.rows == []


def test_too_few_passes_give_no_number(tried: ReportData) -> None:
    once = Counter(dict.fromkeys(tried.survey.passes, 1))
    said = one_page(replace(tried, survey=replace(tried.survey, passes=once)))
    assert said.speed == "baseline gets no number: too short: 1 timed pass of 0.png."
    assert (said.rows, [one.name for one in said.setups]) == ([], ["baseline"])


def test_what_to_do_first_is_what_was_measured_to_help(tried: ReportData) -> None:
    use, batch, *more = one_page(tried).steps
    assert use == steps.Step(
        what="Run it as quick (cache: static, compile: decode).",
        brings="4.00 times the pages of baseline",
        costs="A setting; 27 s to prepare at each start",
        sure="Measured: more than the scatter explains, with dummy weights",
    )
    assert batch.what == (
        "Where many pages wait, read 8 at once (eight); this was not tried together with quick."
    )
    assert batch.brings == "11.4 times the pages of baseline, 2.86 times those of quick"
    assert all("quick" in one.brings for one in more if "%" in one.brings)
    both = replace(EIGHT, changes={**GRAPHS, "batch_size": 8})
    together = one_page(report_of(baseline=SLOW, quick=QUICK, eight=both)).steps[1]
    assert together.what == "Where many pages wait, read 8 at once (eight)."


def test_a_gain_has_the_ends_of_its_interval() -> None:
    unlike = replace(QUICK, spread=0.3)
    (use, *_) = one_page(report_of(1, 4, baseline=SLOW, quick=unlike)).steps
    found = re.fullmatch(r"(\d\.\d) to (\d\.\d) times the pages of baseline", use.brings)
    assert found is not None
    assert float(found[1]) < 4.0 < float(found[2])


@pytest.mark.parametrize(
    ("same", "sure"),
    [
        (False, "Measured: more than the scatter explains, but with other answers"),
        (None, "but the answers were not compared"),
    ],
)
def test_another_text_is_to_be_checked(tried: ReportData, same: bool | None, sure: str) -> None:
    quick = replace(tried.tried[0], same_tokens=same)
    said = one_page(replace(tried, tried=(quick,)))
    assert said.setups[1].role == "Fastest, answers to be checked"
    assert said.steps[0].sure.endswith(sure)
    assert "a check of the text" in said.steps[0].costs


def advice(
    gain_ms: float | None,
    rule: str = "fuse",
    metric: str | None = "decode_ms",
    cure: dict[str, Any] | None = None,
) -> Recommendation:
    return Recommendation(
        rule=rule,
        title="",
        text="",
        plain="Do it.",
        evidence=(),
        gain_ms=gain_ms,
        metric=metric,
        cure=cure,
    )


@pytest.mark.parametrize(
    ("one", "brings", "costs"),
    [
        (advice(500.0), "At most 45 % less time a page", "A change of code"),
        (advice(None), "Not known", "A change of code"),
        (
            advice(500.0, rule="lower_precision"),
            "At most 45 % less time a page",
            "A change of code, and a check of the text on known pages",
        ),
        (
            advice(500.0, cure={"cache": "static", "compile": "all"}),
            "At most 45 % less time a page",
            "A setting (cache: static, compile: all): minutes, with compilation",
        ),
        (
            advice(500.0, rule="vision_resolution", cure={"resolution": "base"}),
            "At most 45 % less time a page",
            "A setting (resolution: base): minutes, and a check of the text on known pages",
        ),
        (advice(None, metric=None), "More certain numbers", "Time of the device"),
    ],
)
def test_what_was_not_tried_has_a_bound_and_a_cost(
    monkeypatch: pytest.MonkeyPatch,
    alone: ReportData,
    one: Recommendation,
    brings: str,
    costs: str,
) -> None:
    monkeypatch.setattr(steps, "recommend", lambda data, variant: [one])
    (step,) = one_page(alone).steps
    assert (step.what, without_nbsp(step.brings), step.costs) == ("Do it.", brings, costs)


def test_gains_within_the_noise_are_left_out(
    monkeypatch: pytest.MonkeyPatch, alone: ReportData
) -> None:
    monkeypatch.setattr(steps, "recommend", lambda data, variant: [advice(20.0)])
    said = one_page(alone)
    assert said.steps == []  # 20 of 1,100 ms, whose interval is some 250 ms wide on each side
    assert "suggests an obvious next step" in twins(said)[0]


def test_compilation_that_was_measured_is_told() -> None:
    data = report_of(baseline=SLOW, quick=replace(QUICK, decode_ms=900.0))
    found = steps._costs(data, advice(500.0, cure=GRAPHS))
    assert found == "A setting (cache: static, compile: decode): minutes, 27 s of them compilation"


def test_the_length_of_answers_is_said_and_a_longer_one_extrapolated() -> None:
    timed = a_pass(64, prefill_ms=100.0, decode_ms=630.0)
    said = one_page(tables([run(64, timed=timed, repeat=repeat) for repeat in range(3)]).data)
    assert "3 times, with answers of 64 new tokens" in said.measured
    # 100 ms + 2,047 steps of 10 ms: 175 an hour
    label = "Pages an hour with answers of 2,048 tokens (a page full of text), extrapolated"
    (row,) = (row for row in said.rows if row.label == label)
    assert [one.line for one in row.figures] == ["about 180 or fewer"]
    few = one_page(tables(repeats(3)).data)  # three steps are too few to extrapolate from
    assert label not in [row.label for row in few.rows]


@pytest.mark.parametrize(
    "data",
    [
        lambda: report_of(baseline=SLOW, quick=QUICK, eight=EIGHT),
        lambda: report_of(1, 1, baseline=SLOW),
        lambda: report_of(1, 2, baseline=Made(spread=1.2)),
        lambda: tables(on_cpu(model=model(name="deepseek-ocr-nano")), **cpu_tables()).data,
        lambda: report_of(
            baseline=replace(SLOW, changes={"prompt": NASTY}),
            other=replace(QUICK, changes={"prompt": NASTY + "2"}),
        ),
        lambda: tables(repeats(variant="a-b_c.d", model=model(name=NASTY))).data,
    ],
    ids=["tried", "once", "unsteady", "stand-in", "prompts", "names"],
)
def test_both_twins_say_the_same(data: Callable[[], ReportData]) -> None:
    said = one_page(data())
    markdown, page = twins(said)
    body = "\n".join(line for line in markdown.splitlines() if not line.startswith("| ---"))
    body = re.sub(r"^\d\. ", "", body, flags=re.MULTILINE)
    body = html.unescape(re.sub(r"\\(.)", r"\1", body)).replace("| What it is |", "|", 1)
    assert words(body) == words(_Words(page).text)
    assert words(body).total() > 80


def test_any_name_is_text_and_nothing_is_loaded() -> None:
    data = tables(repeats(image=NASTY, page=page(path=NASTY), model=model(name=NASTY))).data
    markdown, made = twins(one_page(data))
    assert NASTY not in made
    assert html.escape(NASTY.split(" | ")[0], quote=False) in made
    assert not re.search(r"<(script|img|link|iframe)\b", made + markdown)
    assert not re.search(r"https?:|\bsrc=|url\(", made)
    assert "default-src 'none'" in made


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, tried: ReportData) -> Path:
    path = tmp_path_factory.mktemp("page") / "stakeholder.html"
    data = replace(tried, settings=dict(tried.settings) | {"cost_per_hour": 2.5})
    path.write_text(twins(one_page(data))[1], encoding="utf-8")
    return path


def test_it_is_one_screen_two_on_a_phone_and_one_sheet(shown: Path) -> None:
    require_chromium()
    with launched() as chromium:
        for view, screens, height in (
            (View(1280, "light"), 1, 800),
            (View(390, "dark"), 2, 844),
        ):
            with opened(chromium, shown, view) as made:
                tall = made.page.evaluate("document.body.scrollHeight")
                assert tall <= screens * height, view
                for check in ("width", "overlaps", "contrast"):
                    assert problems(made.page, check) == [], (view, check)
                assert made.wrongs == []
                with printed(made.page):
                    size = made.page.viewport_size
                    assert size is not None
                    assert made.page.evaluate("document.body.scrollHeight") <= size["height"]


def measured(pages: int = 5, repeats: int = 3, cv: float = 0.0) -> ReportData:
    """Pages whose prefill varies by `cv` between three repeats."""
    runs = [
        run(
            image=f"{number}.png",
            repeat=repeat,
            page=page(path=f"{number}.png"),
            timed=a_pass(prefill_ms=50.0 * (1 + cv * (repeat - 1))),
        )
        for number in range(pages)
        for repeat in range(repeats)
    ]
    return tables(runs).data


@pytest.mark.parametrize(
    ("pages", "repeats", "cv", "level", "reason"),
    [
        (5, 3, 0.09, "high", "scatter by at most 9.0\u00a0%"),
        (5, 3, 0.11, "medium", "scatter by up to 11\u00a0%"),
        (5, 3, 0.19, "medium", "scatter by up to 19\u00a0%"),
        (5, 3, 0.21, "low", "scatter by up to 21\u00a0%"),
        (4, 3, 0.0, "medium", "4 pages may not stand for all"),
        (5, 2, 0.0, "medium", "measured only 2 times"),
        (5, 1, 0.0, "low", "measured once"),
    ],
)
def test_confidence_and_its_reason(
    pages: int, repeats: int, cv: float, level: str, reason: str
) -> None:
    data = measured(pages, repeats, cv)
    found, why = confidence(data, data.variants[0])
    assert found == level
    assert reason in why


@pytest.mark.parametrize(("cv", "found"), [(0.09, 0), (0.11, 5)])
def test_repeats_are_unsteady_from_a_tenth(cv: float, found: int) -> None:
    data = measured(cv=cv)
    assert len(unsteady(data)) == found
    assert steadiness(data)[0].verdict == ("warning" if found else "ok")
