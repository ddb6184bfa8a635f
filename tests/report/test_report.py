"""The report: the same facts in every format, true to the tables, safe with any name."""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from unittest import mock

import pytest
from builders import (
    a_pass,
    activity,
    calibration,
    conditions,
    generic_calibration,
    gpu,
    model,
    page,
    run,
)
from report_data import (
    cpu_tables,
    on_cpu,
    operator_rows,
    repeats,
    tables,
    texts,
)

from mfuscope.core.records import StageActivity
from mfuscope.report import figures, formats
from mfuscope.report import render as render_module
from mfuscope.report.data import ReportData, Stat
from mfuscope.report.definitions import DEFINITIONS
from mfuscope.report.operators import aggregate_operators
from mfuscope.report.render import Texts, breakable, markdown, render
from mfuscope.report.stakeholder import comparison
from mfuscope.report.validity import all_checks
from mfuscope.report.words import interval_statement, time_sentence


@pytest.fixture(autouse=True, scope="module")
def drawn_once() -> Iterator[None]:
    """Figures take a second to draw, and have tests of their own (test_figures.py)."""
    drawings = figures.draw(tables(repeats()).data)
    with mock.patch.object(render_module, "draw", return_value=drawings):
        yield


NASTY = "<script>alert(1)</script> | `id` *x* _y_.png"


@dataclass
class Grid:
    """A table as a browser would read it."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)


class Reader(HTMLParser):
    """Collects tables (row spans filled in) and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.grids: list[Grid] = []
        self.tags: list[str] = []
        self._into: str | None = None
        self._spans: tuple[str, int] = ("", 0)
        self._span = 1
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "table":
            self.grids.append(Grid())
            self._spans = ("", 0)
        elif tag == "tr":
            first, left = self._spans
            self.grids[-1].rows.append([first] if left else [])
            self._spans = (first, max(left - 1, 0))
        elif tag in ("td", "th"):
            self._into = "cell"
            self._span = int(dict(attrs).get("rowspan") or 1)
            self.grids[-1].rows[-1].append("")
        elif tag == "caption":
            self._into = "caption"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "caption"):
            self._into = None
        if tag == "th" and self._span > 1:
            self._spans = (self.grids[-1].rows[-1][-1], self._span - 1)

    def handle_data(self, data: str) -> None:
        if self._into == "cell":
            self.grids[-1].rows[-1][-1] += data
        elif self._into == "caption":
            self.grids[-1].caption += data

    def grid(self, caption: str) -> Grid:
        """The table whose caption starts so."""
        return next(grid for grid in self.grids if grid.caption.startswith(caption))


def section(text: str, title: str) -> str:
    """A section of a Markdown text."""
    return text.split(f"# {title}\n")[1].split("\n#")[0]


def test_every_image_is_named_in_both_texts() -> None:
    images = [f"page-{number}.png" for number in range(12)] + ["scan~0123abcd.png"]
    made = texts([r for image in images for r in repeats(image=image)])
    for image in images:
        assert image in section(made.markdown, "Where the time goes")
        assert image in made.html.split('id="time"')[1].split('id="mfu"')[0]


def test_path_is_told_where_the_id_is_not_the_file_name() -> None:
    one = page(path="scans/first page.png")
    made = texts(repeats(image="first-page~0123abcd.png", page=one))
    assert "scans/first page.png" in section(made.markdown, "Where the time goes")
    assert "pages/page.png" not in section(texts(repeats()).markdown, "Where the time goes")


def test_nasty_names_are_escaped() -> None:
    runs = repeats(image=NASTY, page=page(path=f"a\nb/{NASTY}"), model=model(name="<b>`m`|"))
    made = texts(runs, settings={"prompt": "</style>|`x`\n<img>"})
    assert NASTY not in made.html
    assert html.escape(NASTY, quote=False) in made.html
    assert not {"img", "b"} & set(Reader(made.html).tags)
    assert Reader(made.html).tags.count("script") == 1  # the page's own
    for text in (made.markdown, made.stakeholder, made.operators):
        assert not re.search(r"<(script|img|b)\b", text)
        for line in text.splitlines():
            if line.startswith("| "):
                assert len(re.findall(r"(?<!\\)\|", line)) >= 2
    columns = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in section(made.markdown, "Where the time goes").splitlines()
        if line.startswith("|")
    }
    assert len(columns) == 1


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("mixed_en-form.v2~1a.png", "mixed_ en- form. v2~ 1a. png"),
        ("a...b__c_", "a... b__ c_"),
        ("aten::_softmax", "aten::_softmax"),
        ("_a.png", "_a. png"),
        ("a_<b>&'c'.png", "a_ &lt;b&gt;&amp;&#39;c&#39;. png"),
        ("a_\u202eb", "a_ &lt;U+202E&gt;b"),
    ],
)
def test_names_may_be_broken_after_their_separators(text: str, broken: str) -> None:
    assert breakable(text) == broken.replace(" ", "<wbr>")


def test_names_in_tables_may_be_broken_and_can_be_searched_for() -> None:
    made = texts(repeats(image="mixed_en_form.png", variant="a-b"))
    assert "<bdi>mixed_<wbr>en_<wbr>form.<wbr>png</bdi>" in made.html
    assert "<bdi>a-<wbr>b</bdi>" in made.html
    assert 'aria-label="mixed_en_form.png, ' in made.html
    assert not re.search(r"""["'][^"'<>]*<wbr>""", made.html)
    assert "wbr" not in made.markdown + made.stakeholder + made.operators


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("`a`", r"\`a\`"),
        ("<b> & c", "&lt;b&gt; &amp; c"),
        ("a\nb\r\tc", "a b  c"),
        ("text_ar_vocalised.png", "text_ar_vocalised.png"),
        ("_a_ b", r"\_a\_ b"),
        ("aten::_softmax", "aten::_softmax"),
        ("a~1.png", "a~1.png"),
        ("~~a~~", r"\~\~a\~\~"),
        ("[a](b)", r"\[a\](b)"),
        ("# a", r"\# a"),
        ("1. a", r"1\. a"),
        ("1.5 s", "1.5 s"),
        ("back\\slash", r"back\\slash"),
        ("a\u202eb", "a&lt;U+202E&gt;b"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, escaped: str) -> None:
    assert markdown(text) == escaped


def test_dummy_weights_are_stated_and_checkpoints_are_not_called_dummies() -> None:
    made = texts(repeats())
    for text in (made.markdown, made.html, made.stakeholder):
        assert "Dummy weights: random numbers" in text
    made = texts(repeats(model=model(weights="checkpoint")))
    for text in (made.markdown, made.html, made.stakeholder, made.operators):
        assert "dumm" not in text


def test_variants_with_dummies_are_named_where_others_have_weights() -> None:
    runs = repeats(variant="real", model=model(weights="checkpoint")) + repeats(variant="fake")
    assert "Dummy weights of variant fake" in texts(runs).markdown


def test_stand_in_on_a_cpu_is_stated() -> None:
    made = texts(on_cpu(model=model(name="deepseek-ocr-nano")), **cpu_tables())
    for text in (made.markdown, made.html, made.stakeholder):
        assert "small stand-in for DeepSeek-OCR" in text
        assert "measured on a CPU" in text
    assert "The peak is measured, not theoretical" in made.markdown
    assert "stand-in" not in texts(repeats()).stakeholder


def test_absent_values_are_a_dash_with_a_reason_and_never_zero() -> None:
    made = texts(on_cpu(), **cpu_tables())
    rows = section(made.markdown, "What was not measured").splitlines()
    assert any("energy_j" in row and "not a GPU" in row for row in rows)
    assert "| power, W | – |" in made.markdown
    assert '<abbr class="absent" title="not a GPU">–</abbr>' in made.html


def bound(**timed: float) -> Texts:
    """A report of runs with these stages."""
    return texts(repeats(timed=timed))


def test_other_bottlenecks_give_other_texts() -> None:
    seeing = {"prefill_ms": 900.0, "vision_ms": 850.0, "decode_ms": 60.0}
    reading = {"prefill_ms": 900.0, "language_prefill_ms": 850.0, "decode_ms": 60.0}
    writing = {"prefill_ms": 50.0, "decode_ms": 900.0}
    made = [bound(**stages) for stages in (seeing, reading, writing)]
    assert "Prefill dominates" in made[0].markdown
    assert "the vision encoder (850 ms" in made[0].markdown
    assert "the language model's prefill (850 ms" in made[1].markdown
    assert "Decode dominates" in made[2].markdown
    first = [section(m.stakeholder, "Where the time goes").splitlines()[3] for m in made]
    assert ["Vision encoder" in first[0], "Language prefill" in first[1], "Decode" in first[2]] == [
        True
    ] * 3
    for title in ("What it means", "What to do"):
        assert len({section(m.stakeholder, title) for m in made}) == 3


def test_launch_bound_and_compute_bound_give_other_reports() -> None:
    def report(prefill_ms: float, decode_ms: float, busy: tuple[float, float]) -> Texts:
        timed = a_pass(prefill_ms=prefill_ms, decode_ms=decode_ms)
        stages = {
            name: StageActivity(wall_ms=900.0, steps=steps, kernels=700, device_busy_ms=ms)
            for name, steps, ms in (("prefill", 0, busy[0]), ("decode", 3, busy[1]))
        }
        return texts(
            [run(repeat=repeat, timed=timed) for repeat in range(3)],
            activities=[activity(stages=stages)] * 3,
            calibrations=[calibration(prefill_weight_bytes=1_000_000_000)],
        )

    waiting, working = report(50.0, 900.0, (30.0, 60.0)), report(3.0, 2.5, (3.0, 2.2))
    for title in ("Headline", "What to try next"):
        assert section(waiting.markdown, title) != section(working.markdown, title)
    assert "limits this model here, not arithmetic" in section(waiting.markdown, "Headline")
    assert "arithmetic limits this model here" in section(working.markdown, "Headline")
    assert "Launch decode as CUDA graphs" in section(waiting.markdown, "What to try next")
    assert "Compute prefill in FP8" in section(working.markdown, "What to try next")
    for title in ("Where the time goes", "What it means", "What to do"):
        assert section(waiting.stakeholder, title) != section(working.stakeholder, title)
    for made in (waiting, working):  # HTML says the same
        for one in re.findall(r"^\d\. \*\*(.+?)\*\*", made.markdown, re.MULTILINE):
            assert f"<strong>{html.escape(one)}</strong>" in made.html


def test_cost_centres_are_each_with_their_stage() -> None:
    table = section(bound(prefill_ms=90.0, decode_ms=20.0).stakeholder, "Where the time goes")
    rows = [
        line.split(" | ") for line in table.splitlines() if line.startswith("| ") and "ms" in line
    ]
    stages = {row[1].split(":")[0]: row[2] for row in rows}
    assert stages == {"Rest of prefill": "prefill", "Vision encoder": "prefill", "Decode": "decode"}


def test_prefill_without_known_parts_is_one_cost_centre() -> None:
    none = dict.fromkeys(("vision_ms", "projector_ms", "language_prefill_ms"))
    reason = "the model has no such part under a known name"
    made = tables(repeats(timed=none | {"absent": dict.fromkeys(none, reason)}))
    variant = made.data.variants[0]
    assert [centre.key for centre in variant.centres] == ["decode", "prefill"]
    assert "not told apart" in time_sentence(variant)
    text = render(made.data)
    assert f'title="{reason}"' in text.html
    assert '<rect class="prefill"' in text.html


def test_one_repeat_shows_no_spread() -> None:
    made = texts(repeats(1))
    times = section(made.markdown, "Where the time goes")
    row = next(line for line in times.splitlines() if line.startswith("| page.png"))
    assert "±" not in row
    assert "50.0" in row
    assert "nan" not in made.html.lower().replace("nano", "")
    assert "Every page was measured once" in made.markdown
    assert "±" not in re.sub(r"mean ± (std|standard)", "", made.html)


def test_one_new_token_has_no_decode_steps() -> None:
    timed = a_pass(1, decode_ms=0.5)
    made = texts([run(1, timed=timed, traced=a_pass(1)), run(1, timed=timed, repeat=1)])
    assert "one new token: no decode step" in made.html
    assert "Prefill dominates" in made.markdown


def test_passes_that_disagree_are_listed() -> None:
    runs = repeats(3)
    runs[1] = run(repeat=1, passes_agree=False)
    made = texts(runs)
    for text in (made.markdown, made.html):
        assert "baseline / page.png / repeat 1" in text
        assert "baseline / page.png / repeat 0" not in text
    assert "both passes made the same tokens" in texts(repeats()).markdown


def test_long_lists_of_findings_end_with_a_count() -> None:
    runs = [run(repeat=repeat, passes_agree=False) for repeat in range(60)]
    check = all_checks(tables(runs).data)[0]
    assert len(check.details) == 51
    assert "10 more" in check.details[-1]


def test_throttled_runs_are_listed_with_their_reason() -> None:
    hot = conditions(throttle_reasons=["sw_thermal_slowdown"])
    runs = [*repeats(2), run(repeat=2, timed=a_pass(conditions_after=hot))]
    assert "sw_thermal_slowdown in 1 of 3 runs (page.png repeat 2)" in texts(runs).markdown
    assert "No throttle reason was active" in texts(repeats()).markdown


def test_uncounted_operators_are_named() -> None:
    short = calibration(uncounted_operators=["aten::_mystery_mm"])
    made = texts(repeats(), calibrations=[short])
    for text in (made.markdown, made.html):
        assert "aten::_mystery_mm" in text
        assert "baseline at 1024" in text
    assert "No compute-heavy operator was left uncounted" in texts(repeats()).markdown


def test_unsteady_pages_are_listed() -> None:
    runs = [run(repeat=i, timed=a_pass(prefill_ms=ms)) for i, ms in enumerate((50.0, 90.0))]
    checks = section(texts(runs).markdown, "Steadiness")
    assert "| page.png | prefill |" in checks
    assert "| page.png | decode |" not in checks


def test_pages_that_changed_since_they_were_measured_are_named() -> None:
    runs = repeats()
    old = page(path=runs[0].page.path, sha256="0" * 64)
    runs[0] = run(page=old)
    assert "baseline / page.png" in section(texts(runs).markdown, "Checks")


def test_several_devices_are_a_warning() -> None:
    runs = [run(), run(repeat=1, device=gpu(uuid="GPU-other"))]
    assert "GPU-other" in section(texts(runs).markdown, "Checks")


def test_slowdown_of_the_profiler() -> None:
    traced = a_pass(2, step_ms=[30.0], prefill_ms=75.0)  # one step of the three
    runs = [run(repeat=i, traced=traced) for i in range(2)]
    checks = section(texts(runs).markdown, "Checks")
    assert "| prefill | 50.0 | 75.0 | ×1.50 |" in checks
    assert "| decode step | 20.0 | 30.0 | ×1.50 |" in checks


def test_numbers_are_those_of_the_summary() -> None:
    images = ("a.png", "b.png")
    runs = [
        run(
            variant=variant,
            image=image,
            repeat=repeat,
            page=page(path=f"pages/{image}"),
            timed=a_pass(prefill_ms=factor * (50.0 + repeat + position)),
        )
        for variant, factor in (("slow", 7.77), ("fast", 1.0))
        for position, image in enumerate(images)
        for repeat in range(3)
    ]
    made = tables(runs)
    reader = Reader(render(made.data).html)
    rows = made.summary.to_dict("records")
    summary = {(str(r["variant"]), str(r["image"]), str(r["metric"])): r for r in rows}
    times = reader.grid("Time per page")
    at = {name: times.rows[0].index(name) for name in ("Page", "Variant", "Prefill", "Decode")}
    assert len(times.rows) == 1 + 4
    for row in times.rows[1:]:
        for column, metric in (("Prefill", "prefill_ms"), ("Decode", "decode_ms")):
            expected = summary[row[at["Variant"]], row[at["Page"]], metric]
            shown = [float(part) for part in row[at[column]].replace(",", "").split(" ± ")]
            assert shown == pytest.approx([expected["mean"], expected["std"]], rel=6e-3, abs=6e-3)
    stages = {"model": "mfu_model", "prefill": "mfu_prefill", "decode": "mfu_decode"}
    grid = reader.grid("MFU in %").rows[1:]
    assert len(grid) == 2 * 3 * (1 + len(images))
    for page_name, variant, stage, n, spread, interval, variation, repeats_std in grid:
        image = "all" if page_name == "all pages" else page_name
        expected = summary[variant, image, stages[stage]]
        assert int(n) == expected["n"]
        mean, std = (float(part.strip("<")) for part in spread.split(" ± "))
        low, high = (float(part.replace("−", "-")) for part in interval.split(" to "))
        names = ["mean", "std", "ci95_low", "ci95_high", "std_repeats"]
        shown = [part / 100 for part in (mean, std, low, high, float(repeats_std))]
        wanted = [expected[name] for name in names]
        assert shown == pytest.approx(wanted, rel=0.05, abs=1e-4 * expected["mean"] + 5e-5)
        assert float(variation.split()[0]) / 100 == pytest.approx(expected["cv"], rel=0.05)


def test_rest_of_prefill_is_what_its_parts_leave() -> None:
    times = Reader(bound(prefill_ms=60.0).html).grid("Time per page")
    assert times.rows[1][times.rows[0].index("Rest of prefill")] == "11.0 ± 0"


def test_operators_are_means_per_run_with_shares_of_device_time() -> None:
    found = [
        (
            "baseline",
            operator_rows(("prefill", "aten::mm", 1.0, 6.0), ("prefill", "pause", 9.0, 0.0)),
        ),
        ("baseline", operator_rows(("prefill", "aten::mm", 3.0, 0.0), ("decode", "x", 1.0, 4.0))),
        ("other", operator_rows(("prefill", "aten::add", 2.0, 1.0))),
    ]
    prefill, decode, other = aggregate_operators(found)
    assert (prefill.stage, prefill.runs, prefill.device_ms) == ("prefill", 2, 3.0)
    assert prefill.self_cpu_ms == 2.0
    assert [(row.name, row.device_share) for row in prefill.rows] == [
        ("aten::mm", 1.0),
        ("pause", None),
    ]
    assert (decode.rows[0].calls, decode.rows[0].device_ms) == (1.0, 2.0)
    assert other.variant == "other"


def test_operators_without_device_time_are_ranked_by_self_cpu_time() -> None:
    table = operator_rows(("decode", "small", 1.0, None), ("decode", "large", 3.0, None))
    (stage,) = aggregate_operators([("baseline", table)] * 200)
    assert not stage.on_device
    assert [(row.name, row.cpu_share) for row in stage.rows] == [("large", 0.75), ("small", 0.25)]
    made = texts(repeats(), operators=[("baseline", table)])
    assert "| large | 75 % |" in made.markdown
    assert "| large | 75 % |" in made.operators
    assert "There is no device time" in made.markdown


def test_report_shows_ten_operators_and_the_long_table_forty() -> None:
    table = operator_rows(*(("decode", f"op{number}", 50.0 - number, None) for number in range(50)))
    made = texts(repeats(), operators=[("baseline", table)])
    assert ("| op9 |" in made.markdown, "| op10 |" in made.markdown) == (True, False)
    assert ("| op39 |" in made.operators, "| op40 |" in made.operators) == (True, False)
    assert "| 40 others |" in made.markdown


def test_page_is_self_contained() -> None:
    text = texts(repeats()).html
    assert text.lstrip().startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in text
    tags = Reader(text).tags
    assert not {"link", "img", "iframe"} & set(tags)
    assert "http" not in text
    assert "url(" not in text.replace("url(#", "")
    assert " src=" not in text
    assert tags.count("table") == tags.count("caption")


def test_settings_and_images_are_reproduced() -> None:
    made = texts(
        repeats(),
        settings={"variants": {"a": {"prompt": ""}}, "ignore_eos": True},
        command="DSOCR_IMAGE=pages snakemake",
    )
    for text in (made.markdown, made.html.replace("<wbr>", "")):
        assert "variants.a.prompt" in text
        assert "(not set)" in text
        assert run().page.sha256 in text
        assert "DSOCR_IMAGE=pages snakemake" in text
    assert "| ignore_eos | true |" in made.markdown


def test_pages_with_more_frames_than_one_are_listed() -> None:
    runs = repeats(image="a.png") + repeats(image="b.tif")
    line = "b.tif: only the first of 3 frames was measured"
    made = texts(runs, frames={"a.png": 1, "b.tif": 3})
    for text in (section(made.markdown, "Checks"), made.html.split("<h3>Checks</h3>")[1]):
        assert line in text
        assert "a.png: only" not in text


@pytest.mark.parametrize("frames", [None, {"page.png": 1}, {"page.png": None}])
def test_one_frame_is_nothing_to_list(frames: dict[str, int | None] | None) -> None:
    made = tables(repeats(), frames=frames)
    assert [page.frames for page in made.data.pages] == [1]
    assert "No file has more than one frame." in render(made.data).markdown


def with_low(data: ReportData, metric: str, of_page: bool, over_pages: bool) -> ReportData:
    """The data with an interval that reaches below 0, in its first page, variant or both."""

    def low(stats: Mapping[str, Stat]) -> dict[str, Stat]:
        return {**stats, metric: replace(stats[metric], ci95_low=-0.001, ci95_high=0.1)}

    (variant, *variants), (first, *pages) = data.variants, data.pages
    if over_pages:
        variant = replace(variant, stats=low(variant.stats))
    if of_page:
        measured = replace(first.measured[0], stats=low(first.measured[0].stats))
        first = replace(first, measured=(measured, *first.measured[1:]))
    return replace(data, variants=(variant, *variants), pages=(first, *pages))


@pytest.mark.parametrize("metric", ["mfu_model", "mfu_prefill", "mfu_decode"])
def test_intervals_below_0_are_explained(metric: str) -> None:
    steady = [run(image=image, repeat=i) for image in ("a.png", "b.png") for i in range(3)]
    data = tables(steady).data
    assert interval_statement(data) == ""
    of_page = interval_statement(with_low(data, metric, True, False))
    assert "a page's repeats are too few" in of_page
    assert "More repeats or a quieter device narrow them." in of_page
    over_pages = interval_statement(with_low(data, metric, False, True))
    assert "for all pages the pages are too few" in over_pages
    assert "More pages narrow them." in over_pages
    both = with_low(data, metric, True, True)
    assert "a page's repeats and for all pages the pages are" in interval_statement(both)
    made = render(both)
    for text in (made.markdown, html.unescape(made.html)):
        assert interval_statement(both) in text


@pytest.mark.parametrize(
    ("timed", "amount"),
    [
        ({"prefill_ms": 50.0, "decode_ms": 900.0}, "most of it is decode (95"),
        (
            {"prefill_ms": 100.0, "vision_ms": 45.0, "projector_ms": 5.0, "decode_ms": 45.0}
            | {"language_prefill_ms": 40.0},
            "the largest part of it is",
        ),
    ],
)
def test_most_is_said_of_more_than_half(timed: dict[str, float], amount: str) -> None:
    runs = repeats(variant="a") + repeats(variant="b", timed=timed)
    (sentence,) = comparison(tables(runs).data)
    assert amount in sentence


def test_ceiling_and_bandwidth_are_defined_before_their_table() -> None:
    made = texts(repeats())
    columns = Reader(made.html).grid("Against the measured ceiling").rows[0]
    assert columns == [
        "Variant",
        "Model, % of ceiling",
        "Prefill, % of ceiling",
        "Decode, % of ceiling",
        "MBU of decode, %",
        "Prefill, FLOP per byte",
        "Decode, FLOP per byte",
    ]
    for text in (made.markdown, html.unescape(made.html)):
        before = text.split("Against the measured ceiling")[0]
        assert DEFINITIONS["utilisation"] in before


def test_captions_are_as_wide_as_what_is_seen_of_their_table() -> None:
    text = texts(repeats()).html
    assert "container-type: inline-size" in text.split(".scroll {")[1].split("}")[0]
    assert "100cqi" in text.split("caption span {")[1].split("}")[0]


def test_page_that_was_not_measured_is_an_error() -> None:
    runs = repeats(image="a.png") + repeats(image="b.png", variant="other")
    with pytest.raises(ValueError, match="was not measured"):
        tables(runs)


@pytest.mark.parametrize(
    ("mean", "std", "scale", "text"),
    [
        (143.21, 2.34, 1, "143.2 ± 2.3"),
        (143.21, None, 1, "143"),
        (1234.5, 56.7, 1, "1,234 ± 57"),
        (0.000061, 0.0000012, 100, "0.00610 ± 0.00012"),
        (50.0, 0.0, 1, "50.0 ± 0"),
        (123.4, 0.0001, 1, "123.4 ± <0.1"),
        (0.0, 0.0, 1, "0 ± 0"),
        (9.996, None, 1, "10.0"),
        (1000.0, 2000.0, 1, "1,000 ± 2,000"),
    ],
)
def test_mean_and_spread(mean: float, std: float | None, scale: float, text: str) -> None:
    assert formats.spread(mean, std, scale) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(-4.71, 24.82, "−4.7 to 24.8"), (-0.001, 100.0, "0 to 100"), (5.0, 5.0, "5.00 to 5.00")],
)
def test_interval(low: float, high: float, text: str) -> None:
    assert formats.interval(low, high) == text


def test_numbers_with_units() -> None:
    plain = [formats.milliseconds(571.2), formats.milliseconds(15_457), formats.percent(0.00006)]
    plain += [formats.count(3_336_106_240), formats.size(25_276_502_016), formats.plural(1, "page")]
    assert [text.replace("\u00a0", " ") for text in plain] == [
        "571 ms",
        "15.5 s",
        "0.0060 %",
        "3.34 B",
        "25.3 GB",
        "1 page",
    ]
    assert formats.listing(["a", "b", "c"]) == "a, b and c"


def test_flop_models_stand_side_by_side() -> None:
    made = texts(repeats())
    assert "The closed form of the architecture equals the count in every component." in (
        made.markdown
    )
    row = next(line for line in made.markdown.splitlines() if "| directional |" in line)
    assert "| 600.000 | −56 % |" in row
    calibrations = [generic_calibration()]
    made = texts(repeats(), calibrations=calibrations)
    assert "| architecture |" not in made.markdown
    assert "equals the count" not in made.markdown


def test_a_closed_form_that_is_off_is_named() -> None:
    wrong = calibration()
    flops = {name: dict(models) for name, models in wrong.prefill_flops.items()}
    flops["clip"]["architecture"] = 1
    made = texts(repeats(), calibrations=[replace(wrong, prefill_flops=flops)])
    assert "differs from the count: baseline at 1024." in made.markdown
