"""Digests of code follow its imports."""

import shutil
from pathlib import Path

import pytest
from checkouts import ROOT

from mfuscope.workflow import digests
from mfuscope.workflow.digests import code_digest

SCRIPTS = ROOT / "workflow" / "scripts"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, which digests are made of."""
    copy = tmp_path / "mfuscope"
    shutil.copytree(ROOT / "src" / "mfuscope", copy)
    monkeypatch.setattr(digests, "_ROOT", copy)
    return copy


def changes(package: Path, module: str, entry: Path | str) -> bool:
    """Whether editing a module changes a digest."""
    digests._imports.cache_clear()
    before = code_digest(entry)
    path = package / module
    path.write_text(path.read_text() + "\n# edited\n")
    digests._imports.cache_clear()
    return code_digest(entry) != before


@pytest.mark.parametrize(
    ("entry", "module"),
    [
        (SCRIPTS / "summarise.py", "metrics/statistics.py"),
        (SCRIPTS / "tabulate_metrics.py", "core/records.py"),  # through several others
        (SCRIPTS / "tabulate_metrics.py", "provenance/consistency.py"),
        (SCRIPTS / "read_operators.py", "traces/kernels.py"),
        (SCRIPTS / "render_report.py", "report/figures/style.py"),
        ("mfuscope.measure.calibration", "flops/counting.py"),
        ("mfuscope.measure.calibration", "models/inputs.py"),
    ],
)
def test_what_is_imported_counts(package: Path, entry: Path | str, module: str) -> None:
    assert changes(package, module, entry)


@pytest.mark.parametrize(
    ("entry", "module"),
    [
        (SCRIPTS / "summarise.py", "report/render.py"),
        (SCRIPTS / "read_operators.py", "flops/counting.py"),
        ("mfuscope.measure.calibration", "report/render.py"),
        ("mfuscope.measure.calibration", "planning/plan.py"),
    ],
)
def test_what_is_not_imported_does_not(package: Path, entry: Path | str, module: str) -> None:
    assert not changes(package, module, entry)


def test_a_digest_does_not_depend_on_the_place(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_digest(SCRIPTS / "summarise.py")
    moved = package.rename(package.with_name("moved"))
    digests._imports.cache_clear()
    monkeypatch.setattr(digests, "_ROOT", moved)
    assert code_digest(SCRIPTS / "summarise.py") == before


@pytest.mark.parametrize("entry", ["mfuscope.nothing", Path("nowhere.py")])
def test_what_is_not_there_is_an_error(entry: Path | str) -> None:
    with pytest.raises(FileNotFoundError):
        code_digest(entry)
