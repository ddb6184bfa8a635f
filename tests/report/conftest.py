"""Fixtures of the report's tests."""

from collections.abc import Iterator
from unittest import mock

import pytest
from report_data import repeats, tables

from mfuscope.report import figures
from mfuscope.report import render as render_module


@pytest.fixture(scope="module")
def drawn_once() -> Iterator[None]:
    """Figures take a second to draw, and have tests of their own (test_figures.py)."""
    drawings = figures.draw(tables(repeats()).data)
    with mock.patch.object(render_module, "draw", return_value=drawings):
        yield
