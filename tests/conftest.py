"""Fixtures that several test modules use."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from processes import Faults, wait_for

if TYPE_CHECKING:  # most tests need neither pandas nor a model
    from stand_in import Workflow

#: The modules that take longest, so that processes that share the tests do not end on one of them.
LONGEST = ("workflow", "lifecycle", "security", "devices", "damage", "kills", "disk")

# How long an example takes is the machine's business, and proves nothing.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure() -> None:
    """Give each process that shares the tests a core of its own, and all that it starts.

    Two measurements that both use every core wait for each other, and take three times as long.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    cores = sorted(os.sched_getaffinity(0))
    if worker.isdecimal():
        os.sched_setaffinity(0, {cores[int(worker) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest modules first; within a module nothing changes."""
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def runtime_dir() -> Iterator[Path]:
    """A runtime folder of this test process's own, also for the workflows that it starts.

    Processes that share the tests never wait for each other's devices, nor for a user's. The path
    is short, as the addresses of sockets must be.
    """
    folder = Path(tempfile.mkdtemp(prefix="mf", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MFUSCOPE_RUNTIME_DIR", str(folder))
        yield folder
    shutil.rmtree(folder)


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
def workflow(tmp_path: Path, faults: Faults) -> Iterator["Workflow"]:
    """A stand-in for the workflow and its model; idle workers live for a minute."""
    from stand_in import Workflow

    with Workflow(tmp_path, faults) as made:
        yield made
