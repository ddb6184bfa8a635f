"""Which commit measured, and which host."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from mfuscope.core import versions as checkout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in a checkout of its own."""
    made = tmp_path / "src"
    made.mkdir()
    (made / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    monkeypatch.setattr(checkout, "_FOLDER", made)
    return made


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_checkout_has_a_commit(folder: Path) -> None:
    head = git(folder, "rev-parse", "--short=12", "HEAD")
    assert checkout.commit() == (head, "")
    (folder / "new.py").write_text("")  # not of the checkout
    assert checkout.commit()[0] == head
    (folder / "__init__.py").write_text("changed")
    assert checkout.commit()[0] == f"{head}-dirty"


def test_a_copy_within_a_checkout_of_something_else_has_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = shutil.copytree(folder, folder.parent / "site-packages")
    monkeypatch.setattr(checkout, "_FOLDER", installed)
    found, reason = checkout.commit()
    assert found is None
    assert "no checkout of git" in reason


def test_without_git_it_is_not_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert checkout.commit()[0] is None


def test_a_host_is_told_apart_and_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "gpu-of-somebody")
    first = checkout.host_id()
    assert first == checkout.host_id()
    assert "somebody" not in first
    monkeypatch.setattr(platform, "node", lambda: "gpu-of-another")
    assert checkout.host_id() != first
