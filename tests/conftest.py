"""Fixtures that several test modules use."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import Faults, wait_for

if TYPE_CHECKING:  # tests without a model need not pay for torch
    from stand_in import Workflow

#: The modules that take longest, so that processes that share the tests do not end on one of them.
LONGEST = ("workflow", "worker", "security", "devices", "damage", "faults", "worker_faults", "disk")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest modules first; within a module nothing changes."""
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(LONGEST)))


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


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint of DeepSeek-OCR."""
    from checkpoints import write_published

    folder = tmp_path_factory.mktemp("published") / "model"
    write_published(folder)
    return folder


@pytest.fixture
def workflow(published: Path, tmp_path: Path, faults: Faults) -> Iterator["Workflow"]:
    """A stand-in for the workflow, whose idle workers live for a minute."""
    from stand_in import Workflow

    made = Workflow(published, tmp_path, faults, keep_alive=60)
    yield made
    made.end()
