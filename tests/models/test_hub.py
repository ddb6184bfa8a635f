"""Models of the hub: cache, revisions, weights."""

import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import (
    MODELS,
    write_published,
)
from huggingface_hub.errors import LocalEntryNotFoundError

from mfuscope.core.errors import UserError
from mfuscope.models.families import Family
from mfuscope.models.loader import load_model
from mfuscope.models.spec import resolve_model

CPU = torch.device("cpu")


def test_a_hub_id_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    revision = "0123456789" * 4
    repository = tmp_path / "models--someone--ocr"
    write_published(repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    spec = resolve_model("someone/ocr", "auto", MODELS)
    assert (spec.source, spec.family) == ("hub", Family.DEEPSEEK_OCR)
    assert load_model(spec, "fp32", "sdpa", CPU).parameters > 0
    with pytest.raises(UserError, match="cannot get 'someone/else' from the hub"):
        resolve_model("someone/else", "auto", MODELS)


def test_weights_come_after_planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning fetches the description, the first job the weights: still the same model."""
    write_published(tmp_path / "remote")
    snapshot = tmp_path / "cache" / "abc"
    asked: list[tuple[bool, object]] = []

    def download(
        name: str,
        *,
        revision: str | None = None,
        allow_patterns: list[str] | None = None,
        local_files_only: bool = False,
    ) -> str:
        asked.append((local_files_only, revision))
        if local_files_only and not snapshot.is_dir():
            raise LocalEntryNotFoundError("not in the cache")
        snapshot.mkdir(parents=True, exist_ok=True)
        for path in (tmp_path / "remote").iterdir():
            if not local_files_only and any(path.match(p) for p in allow_patterns or []):
                shutil.copy(path, snapshot)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    names = [path.name for path in (tmp_path / "remote").iterdir()]
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda name, revision: names)
    planned = resolve_model("someone/ocr", "auto", MODELS)
    assert planned.weights == "checkpoint"
    assert not list(snapshot.glob("*.safetensors"))
    assert load_model(planned, "fp32", "sdpa", CPU).parameters > 0
    assert list(snapshot.glob("*.safetensors"))
    again = resolve_model("someone/ocr", "auto", MODELS)
    assert again.fingerprint == planned.fingerprint
    load_model(again, "fp32", "sdpa", CPU)
    # Locally, the description, the weights of that revision; then from the cache alone.
    assert asked == [(True, None), (False, None), (False, "abc"), (True, None), (True, "abc")]


def test_hub_models_without_safetensors_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_published(tmp_path / "abc")

    def download(name: str, *, local_files_only: bool = False, **_: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        return str(tmp_path / "abc")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda name, revision: ["model.bin"])
    with pytest.raises(UserError, match="holds no safetensors"):
        resolve_model("someone/ocr", "auto", MODELS)
