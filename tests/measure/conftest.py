"""Passes collect garbage: what was there before a module's tests need not be looked at again."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """As a worker does with its model: a collection then takes no time."""
    gc.freeze()
    yield
    gc.unfreeze()
