"""The report's figures: they show the data, stand alone as SVG, and fit into a page."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from builders import a_pass, generic_calibration, model, page, run
from report_data import repeats, tables

from mfuscope.report.figures import Drawing, draw
from mfuscope.report.figures.decode_steps import paint_decode_steps
from mfuscope.report.figures.roofline import paint_roofline
from mfuscope.report.figures.style import COLOURS, drawing
from mfuscope.report.figures.time import MOST_PAGES, paint_time

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """Every text of a figure."""
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg).iter(f"{SVG}text")]


def markers(svg: str, colour: str, *, filled: bool) -> int:
    """How many points of a colour a figure has."""
    fill = f"fill: {COLOURS[colour]}" if filled else f"fill-opacity: 0; stroke: {COLOURS[colour]}"
    return len(re.findall(rf'<use [^>]*style="{fill}', svg))


@pytest.fixture(scope="module")
def drawings() -> dict[str, Drawing]:
    runs = repeats(3, image="a.png") + repeats(3, image="b.png")
    return draw(tables(runs).data)


def test_the_roofline_has_every_page_and_both_roofs(drawings: dict[str, Drawing]) -> None:
    for svg in (drawings["roofline"].wide, drawings["roofline"].narrow):
        said = texts(svg)
        assert "arithmetic intensity, FLOP per byte" in said
        assert any(text.startswith("bf16 peak 1,000") for text in said)
        assert any(text.startswith("bf16 measured 650") for text in said)
        assert "ridge 299 FLOP/byte" in said
        for stage in ("prefill", "decode"):
            # Two pages, and the entry of the legend; over busy time one point, and its entry.
            assert markers(svg, stage, filled=True) == 3
            assert markers(svg, stage, filled=False) == 2


def test_a_model_whose_bytes_are_not_known_has_no_roofline() -> None:
    data = tables(repeats(), calibrations=[generic_calibration()]).data
    made = drawing("roofline", data, paint_roofline)
    assert "bytes that this model must move are not known" in made.missing
    assert made.missing in texts(made.wide)


def test_the_steps_show_percentiles_and_positions(drawings: dict[str, Drawing]) -> None:
    said = texts(drawings["decode_steps"].wide)
    assert {
        "p50",
        "p95",
        "p99",
        "step, ms",
        "step, ms (to p99.5)",
        "decode step",
        "median of runs",
    } <= set(said)


def test_steps_of_variants_stand_side_by_side() -> None:
    runs = repeats(2) + repeats(2, variant="eager", model=model(attention="eager"))
    said = texts(drawing("decode_steps", tables(runs).data, paint_decode_steps).wide)
    assert {"baseline", "eager"} <= set(said)
    assert "p50" not in said


def test_answers_of_one_token_have_no_steps() -> None:
    data = tables([run(1, timed=a_pass(1), traced=a_pass(1))]).data
    made = drawing("decode_steps", data, paint_decode_steps)
    assert made.missing == "No decode step was measured: the answers have one token."


def test_many_pages_are_the_slowest() -> None:
    runs = [
        run(image=f"p{i:02}.png", page=page(path=f"p{i:02}.png"), timed=a_pass(prefill_ms=50.0 + i))
        for i in range(MOST_PAGES + 6)
    ]
    said = texts(drawing("time", tables(runs).data, paint_time).wide)
    assert f"The {MOST_PAGES} slowest of {MOST_PAGES + 6}" in said
    assert f"p{MOST_PAGES + 5}.png" in said
    assert "p05.png" not in said


@pytest.mark.parametrize("name", ["<b>$x_1$ & co</b>.png", "صفحة 文.png", "a" * 200 + ".png"])
def test_any_name_is_text(name: str) -> None:
    said = texts(drawing("time", tables(repeats(image=name)).data, paint_time).wide)
    assert name in said or f"{name[:33]}…" in said


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
