"""Fixtures of the report's tests."""

from collections.abc import Iterator, Mapping
from functools import cache
from unittest import mock

import pytest
from report_data import repeats, tables

from mfuscope.report import figures
from mfuscope.report import render as render_module

# The tests of what a browser shows.
_WITH_FIGURES = "test_browser"


@cache
def _drawings() -> Mapping[str, figures.Drawing]:
    return figures.draw(tables(repeats()).data)


@pytest.fixture(scope="module", autouse=True)
def drawn_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Figures take a second to draw, and have tests of their own (test_figures.py)."""
    if request.module.__name__.endswith(_WITH_FIGURES):
        yield
        return
    with mock.patch.object(render_module, "draw", side_effect=lambda data: _drawings()):
        yield
