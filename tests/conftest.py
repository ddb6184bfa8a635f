"""Fixtures that several test modules use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Faults, wait_for


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Faults]:
    """Marks the processes of a test, and may fault them; at its end none of them is left."""
    folder = tmp_path / "faults"
    folder.mkdir()
    made = Faults(folder)
    yield made
    try:
        wait_for(lambda: not made.processes(), "the end of every process", 10)
    finally:
        made.end_all()
