"""The report's figures: they show the data, stand alone as SVG, and fit into a page."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from builders import a_pass, generic_calibration, model, page, run
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from report_data import distinct, repeats, tables

from mfuscope.report.data import ReportData
from mfuscope.report.figures import Drawing, draw
from mfuscope.report.figures.decode_steps import paint_decode_steps
from mfuscope.report.figures.roofline import paint_roofline
from mfuscope.report.figures.style import COLOURS, Painter, drawing
from mfuscope.report.figures.time import MOST_PAGES, paint_time
from mfuscope.report.names import fitted, page_names

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """Every text of a figure."""
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def drawings() -> dict[str, Drawing]:
    runs = repeats(3, image="a.png") + repeats(3, image="b.png")
    return draw(tables(runs).data)


def test_the_roofline_names_both_roofs_and_both_stages(drawings: dict[str, Drawing]) -> None:
    for svg in (drawings["roofline"].wide, drawings["roofline"].narrow):
        drawn = " ".join(texts(svg))
        assert "arithmetic intensity, FLOP per byte" in drawn
        for text in ("bf16 peak 1,000 TFLOP/s", "bf16 measured 650 TFLOP/s", "ridge 299"):
            assert text in drawn
        assert drawn.count("prefill") == drawn.count("decode") == 1
        assert "busy" in drawn


def test_a_model_whose_bytes_are_not_known_has_no_roofline() -> None:
    data = tables(repeats(), calibrations=[generic_calibration()]).data
    made = drawing("roofline", data, paint_roofline)
    assert "bytes that this model must move are not known" in made.missing
    assert made.missing in texts(made.wide)


def test_the_steps_show_percentiles_and_positions(drawings: dict[str, Drawing]) -> None:
    drawn = texts(drawings["decode_steps"].wide)
    assert {
        "p50",
        "p95",
        "p99",
        "step, ms",
        "step, ms (to p99.5)",
        "decode step",
        "median",
    } <= set(drawn)


def test_steps_of_variants_stand_side_by_side() -> None:
    runs = repeats(2) + repeats(2, variant="eager", model=model(attention="eager"))
    drawn = texts(drawing("decode_steps", tables(runs).data, paint_decode_steps).wide)
    assert {"baseline", "eager"} <= set(drawn)
    assert "p50" not in drawn


def test_answers_of_one_token_have_no_steps() -> None:
    data = tables([run(1, timed=a_pass(1), traced=a_pass(1))]).data
    made = drawing("decode_steps", data, paint_decode_steps)
    assert made.missing == "No decode step was measured: the answers have one token."


def test_many_pages_are_the_slowest() -> None:
    runs = [
        run(image=f"p{i:02}.png", page=page(path=f"p{i:02}.png"), timed=a_pass(prefill_ms=50.0 + i))
        for i in range(MOST_PAGES + 6)
    ]
    drawn = texts(drawing("time", tables(runs).data, paint_time, inline=False).wide)
    assert f"The {MOST_PAGES} slowest of {MOST_PAGES + 6}" in drawn
    assert f"p{MOST_PAGES + 5}.png" in drawn
    assert "p05.png" not in drawn


@pytest.mark.parametrize("name", ["<b>$x_1$ & co.png", "صفحة 文.png", "a" * 200 + ".png"])
def test_any_name_is_text(name: str) -> None:
    runs = repeats(image="slug~1.png", page=page(path=name))
    drawn = texts(drawing("time", tables(runs).data, paint_time, inline=False).wide)
    assert fitted(name, 44) in drawn


def test_drawing_is_the_same_each_time(drawings: dict[str, Drawing]) -> None:
    runs = repeats(3, image="a.png") + repeats(3, image="b.png")
    assert drawing("roofline", tables(runs).data, paint_roofline) == drawings["roofline"]


def test_in_a_page_colours_follow_its_scheme_and_names_are_its_own(
    drawings: dict[str, Drawing],
) -> None:
    shapes = [shape for one in drawings.values() for shape in one.inline]
    whole = "".join(shapes)
    assert not any(colour in whole for colour in COLOURS.values())
    assert {f"var(--{name})" for name in ("ink", "prefill", "decode", "line")} <= set(
        re.findall(r"var\(--\w+\)", whole)
    )
    assert "<style" not in whole
    assert "<metadata" not in whole
    assert "xmlns" not in whole
    names = re.findall(r' id="([^"]+)"', whole)
    assert len(names) == len(set(names))
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', whole))
    assert used <= set(names)


def test_steps_of_different_lengths_are_drawn() -> None:
    data = tables(repeats(2)).data
    data.survey.steps["baseline"] = [np.array(s, dtype=np.float32) for s in ([5, 6], [5], [])]
    assert not drawing("decode_steps", replace(data), paint_decode_steps).missing


# What is drawn, on the artists of matplotlib: data in which no two values are alike.
RUNS, DISTINCT = distinct()
BASELINE = [one for one in RUNS if one.variant == "baseline"]
ONE_VARIANT = tables(BASELINE).data


def painted(paint: Painter, data: ReportData, axes: int = 1) -> list[Axes]:
    """The axes of a wide figure."""
    figure = Figure()
    assert paint(figure, data, True) == ""
    assert len(figure.axes) == axes
    return figure.axes


def ends(line: Line2D) -> tuple[list[float], list[float]]:
    """The x and the y of a line's points."""
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def labelled(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    """The points of the line with this label."""
    (found,) = (one for one in axes.lines if one.get_label() == label)
    return ends(found)


def test_the_roofs_are_of_their_own_arithmetic_and_bandwidth() -> None:
    data = tables(repeats(3)).data
    (axes,) = painted(paint_roofline, data)
    # 1000 TFLOP/s and 3350 GB/s by the data sheet; 650 and 2600 measured.
    for style, tflops, gbs in (("-", 1000.0, 3350.0), ("--", 650.0, 2600.0)):
        of_style = [ends(one) for one in axes.lines if one.get_linestyle() == style]
        ((low, ridge, high), heights) = next(roof for roof in of_style if len(roof[0]) == 3)
        assert ridge == pytest.approx(1e3 * tflops / gbs)
        assert low < ridge < high
        assert heights == pytest.approx([low * gbs / 1e3, tflops, tflops])


@pytest.mark.parametrize("ridge", [0.1, 1.0, 5.0, 50.0, 500.0, 5000.0])
def test_the_ridges_name_stays_within_the_axes(ridge: float) -> None:
    """It is far to the left where a peak was measured on a busy CPU."""
    data = tables(repeats(2)).data
    bandwidth = data.hardware.peaks["bf16"].tflops * 1e3 / ridge
    data = replace(data, hardware=replace(data.hardware, bandwidth_gbs=bandwidth))
    figure = Figure(figsize=(3.7, 4.4), layout="constrained")
    assert paint_roofline(figure, data, False) == ""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    names = [text for text in axes.texts if text.get_text().startswith("ridge")]
    assert len(names) == 2  # of the peaks, and as measured
    for name in names:
        shown, room = name.get_window_extent(), axes.get_window_extent()
        assert room.x0 <= shown.x0 < shown.x1 <= room.x1


@pytest.mark.parametrize(("variant", "peak"), [("baseline", 1000.0), ("half", 830.0)])
@pytest.mark.parametrize("stage", ["prefill", "decode"])
def test_points_are_what_pages_achieve(variant: str, peak: float, stage: str) -> None:
    (axes,) = painted(paint_roofline, DISTINCT.data)
    summary = DISTINCT.summary[DISTINCT.summary["variant"] == variant]

    def of_pages(metric: str, column: str) -> list[float]:
        pages = summary[(summary["metric"] == metric) & (summary["image"] != "all")]
        return [float(value) for value in pages[column]]

    xs, ys = labelled(axes, f"{stage}, {variant}")
    assert len(set(ys)) == 3
    # Pages of one intensity stand side by side: none far from its place, none on another's.
    assert xs == pytest.approx(of_pages(f"{stage}_flop_per_byte", "mean"), rel=0.35)
    assert len(set(xs)) == 3
    assert ys == pytest.approx([peak * mfu for mfu in of_pages(f"mfu_{stage}", "total")])


def test_lines_lead_up_to_what_is_achieved_over_busy_time() -> None:
    (axes,) = painted(paint_roofline, DISTINCT.data)
    first = DISTINCT.data.variants[0]
    for stage in ("prefill", "decode"):
        wall, busy, intensity = (
            first.stats[metric].value
            for metric in (f"mfu_{stage}", f"mfu_{stage}_busy", f"{stage}_flop_per_byte")
        )
        assert wall is not None
        assert busy is not None
        xs, ys = labelled(axes, f"{stage} while busy, baseline")
        assert xs == pytest.approx([intensity], rel=0.35)
        assert ys == pytest.approx([1000.0 * busy])
        riser = pytest.approx([1000.0 * wall, 1000.0 * busy])
        assert [ends(one)[1] == riser for one in axes.lines].count(True) == 1


@pytest.mark.parametrize("ridge", [100.0, 190.0, 250.0])
def test_no_mark_is_moved_past_a_ridge(ridge: float) -> None:
    data = tables([m for v in "abcde" for m in repeats(1, variant=v)]).data
    bandwidth = data.hardware.peaks["bf16"].tflops * 1e3 / ridge
    data = replace(data, hardware=replace(data.hardware, bandwidth_gbs=bandwidth))
    (axes,) = painted(paint_roofline, data)
    for variant in data.variants:
        true = variant.stats["prefill_flop_per_byte"].mean
        assert true is not None
        ((x,), _) = labelled(axes, f"prefill, {variant.name}")
        assert (x < ridge) == (true < ridge)


@pytest.mark.parametrize("wide", [True, False])
def test_equal_pages_and_variants_do_not_hide_each_other(wide: bool) -> None:
    runs = [
        made
        for variant in ("baseline", "eager", "static")
        for image in "abcd"
        for made in repeats(1, variant=variant, image=f"{image}.png")
    ]
    figure = Figure(figsize=(8.6, 4.6) if wide else (3.7, 4.4), layout="constrained")
    assert paint_roofline(figure, tables(runs).data, wide) == ""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    of_pages = [line for line in axes.lines if str(line.get_label()).startswith("prefill, ")]
    xs = np.sort([axes.transData.transform((x, 1))[0] for line in of_pages for x in ends(line)[0]])
    assert len(xs) == 12
    apart = np.diff(xs).min() * 72 / figure.dpi  # points; the marks are hollow
    assert apart > (0.5 if wide else 0.1)
    assert axes.bbox.x0 < xs[0] < xs[-1] < axes.bbox.x1
    assert len({line.get_marker() for line in of_pages}) == 3


def test_bars_are_stacked_parts_of_a_page_with_a_dot_for_each_repeat() -> None:
    (axes,) = painted(paint_time, DISTINCT.data)
    pages = sorted(
        (measured for page in DISTINCT.data.pages for measured in page.measured),
        key=lambda one: -(one.stats["page_ms"].mean or 0.0),
    )
    bars = [one for one in axes.containers if isinstance(one, BarContainer)]
    assert [one.get_label() for one in bars] == [
        "vision encoder",
        "projector",
        "language prefill",
        "rest of prefill",
        "decode",
    ]
    for place, measured in enumerate(pages):
        left = 0.0
        metrics = ("vision_ms", "projector_ms", "language_prefill_ms", "rest_ms", "decode_ms")
        for container, metric in zip(bars, metrics, strict=True):
            bar = container.patches[place]
            assert bar.get_x() == pytest.approx(left)
            assert bar.get_width() == pytest.approx(measured.stats[metric].mean)
            assert bar.get_y() + bar.get_height() / 2 == pytest.approx(place)
            left += bar.get_width()
        assert left == pytest.approx(measured.stats["page_ms"].mean)
    dots = [one for one in axes.lines if one.get_marker() == "o"]
    names = page_names(DISTINCT.data)
    for place, (measured, line) in enumerate(zip(pages, dots, strict=True)):
        xs, ys = ends(line)
        image = next(p.image for p in DISTINCT.data.pages if measured in p.measured)
        mine = [one for one in RUNS if (one.image, one.variant) == (image, measured.variant)]
        assert xs == pytest.approx([one.timed.prefill_ms + one.timed.decode_ms for one in mine])
        assert len(set(ys)) == 3
        assert all(abs(y - place) < 0.35 for y in ys)
        assert axes.texts[place].get_text() == f"{names[image]} ({measured.variant})"


def test_steps_over_their_position_are_medians_within_nine_tenths_of_the_runs() -> None:
    _, position = painted(paint_decode_steps, ONE_VARIANT, 2)
    steps = [one.timed.step_ms for one in BASELINE]
    longest = max(map(len, steps))
    reached = [[run[i] for run in steps if len(run) > i] for i in range(longest)]
    where, median = labelled(position, "median of runs")
    assert where == list(range(longest))
    assert median == pytest.approx([float(np.median(found)) for found in reached], rel=1e-5)
    (band,) = position.collections
    corners = np.asarray(band.get_paths()[0].vertices)
    for i, found in enumerate(reached):
        heights = corners[corners[:, 0] == i, 1]
        limits = [float(np.percentile(found, q)) for q in (5, 95)]
        assert [heights.min(), heights.max()] == pytest.approx(limits, rel=1e-5)


def test_percentiles_of_the_distribution_stand_at_their_steps() -> None:
    spread, _ = painted(paint_decode_steps, ONE_VARIANT, 2)
    every = np.concatenate([one.timed.step_ms for one in BASELINE])
    expected = [float(np.percentile(every, q)) for q in (50, 95, 99)]
    assert [np.asarray(one.get_xdata())[0] for one in spread.lines] == pytest.approx(
        expected, rel=1e-5
    )
    labels = {one.get_text(): one.xy[0] for one in spread.texts if isinstance(one, Annotation)}
    assert labels == {
        f"p{q}": pytest.approx(at, rel=1e-5) for q, at in zip((50, 95, 99), expected, strict=True)
    }


def test_the_distribution_is_in_percent_of_the_steps_shown() -> None:
    spread, _ = painted(paint_decode_steps, ONE_VARIANT, 2)
    every = np.concatenate([one.timed.step_ms for one in BASELINE])
    (outline,) = spread.patches
    counts, _ = np.histogram(
        every.astype(np.float32), np.linspace(every.min(), np.percentile(every, 99.5), 40)
    )
    heights = np.asarray(outline.get_path().vertices)[:, 1]
    assert heights.max() == pytest.approx(100 * counts.max() / len(every), rel=1e-3)
