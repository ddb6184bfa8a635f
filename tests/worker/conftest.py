"""A runtime for tests without a workflow's process."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from processes import runtime_of

from mfuscope.worker.runtime import Runtime


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """This process's own, in an empty folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="mf", dir="/tmp") as base:
        yield replace(runtime_of(os.getpid()), base=Path(base))
