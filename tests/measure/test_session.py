"""A session in fp32 computes without TF32."""

from collections.abc import Iterator

import pytest
import torch
from checkpoints import MODELS, write_published

from mfuscope.config.settings import (
    ModelSettings,
)
from mfuscope.measure import session as sessions
from mfuscope.measure.session import Session
from mfuscope.models.spec import resolve_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("published") / "model"
    write_published(folder)
    return str(folder)


@pytest.fixture
def with_tf32() -> Iterator[None]:
    """TF32 allowed; afterwards as before. (monkeypatch cannot undo these.)"""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.usefixtures("with_tf32")
def test_fp32_is_not_tf32(published: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.device] = []
    monkeypatch.setattr(sessions, "use_device", used.append)
    settings = ModelSettings(published, "auto", "fp32", "sdpa", "Free OCR.", "auto", "none", 0)
    made = Session(resolve_model(published, "auto", MODELS), settings, "cpu")
    assert made.dtype is torch.float32
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert used == [CPU]
