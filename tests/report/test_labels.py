"""Labels stand beside what they name, and not on each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from mfuscope.report.figures.labels import End, Mark, label_ends, label_marks, spaced

PLACES = st.lists(st.floats(0, 1), max_size=12)


@given(PLACES, st.floats(0.001, 0.3))
def test_places_are_in_order_apart_and_within(places: list[float], gap: float) -> None:
    found = spaced(places, gap, 0.0, 1.0)
    order = sorted(range(len(places)), key=lambda i: places[i])
    least = min(gap, 1 / max(len(places) - 1, 1))
    apart = np.diff([found[i] for i in order])
    assert all(apart >= least - 1e-9)
    assert all(-1e-9 <= at <= 1 + 1e-9 for at in found)


@given(PLACES)
def test_places_that_are_apart_stay(places: list[float]) -> None:
    apart = [round(place, 1) for place in {round(place, 1) for place in places}]
    assert spaced(apart, 0.05, 0.0, 1.0) == pytest.approx(apart)


def test_equal_places_are_pushed_apart_both_ways() -> None:
    assert spaced([0.5, 0.5, 0.1], 0.1, 0.0, 1.0) == pytest.approx([0.45, 0.55, 0.1])
    assert spaced([0.99, 0.99], 0.1, 0.0, 1.0) == pytest.approx([0.9, 1.0])


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of the axes that cover each other."""
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    boxes = [Text.get_window_extent(text) for text in texts]  # without their leaders
    return [
        (texts[i].get_text(), texts[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]


def test_names_of_lines_that_end_together_do_not_overlap() -> None:
    figure = Figure(figsize=(8.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 10)
    label_ends(axes, [End(f"variant-{i}", 1, 5 + i / 100, "#000000") for i in range(8)], 250)
    assert overlapping(figure) == []
    heights = [Text.get_window_extent(text).y0 for text in axes.texts]
    assert heights == sorted(heights)


def test_marks_that_touch_have_names_that_cover_neither_marks_nor_names() -> None:
    figure = Figure(figsize=(8.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    marks = [Mark(5 + 0.2 * i, 5 + 0.1 * (-1) ** i, 5) for i in range(6)]
    label_marks(axes, [(str(i), mark, "#000000") for i, mark in enumerate(marks)], marks)
    assert overlapping(figure) == []
    for text in axes.texts:
        box = text.get_window_extent()
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        for mark in marks:
            at = axes.transData.transform((mark.x, mark.y))
            assert np.hypot(*(at - middle)) * 72 / figure.dpi > mark.radius
