"""The command ``mfuscope check``."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from stored import IMAGES, store_results

from mfuscope.core.runs import RunKey
from mfuscope.storage.paths import RunPaths
from mfuscope.workflow.cli import main

ROOT = Path(__file__).parents[2]
HOLD = (
    "import time; from pathlib import Path; from mfuscope.storage.locks import hold_results\n"
    "hold_results(Path('results')); print('held', flush=True); time.sleep(600)"
)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = Path("results")
    store_results(folder)
    return folder


def record(results: Path) -> Path:
    return RunPaths.of(results, RunKey("baseline", IMAGES[0], 0)).record


def test_valid_results_pass(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert main(["check", "--repair", str(results)]) == 0
    assert capsys.readouterr().out == "32 results checked, all valid\n" * 2


def test_without_results_there_is_nothing_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--repair"]) == 0
    assert capsys.readouterr().out == "", "the first `make run` begins with its own lines"
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "0 results checked, all valid\n"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("arguments", [["missing"], ["file"], ["results"], ["--repair", "missing"]])
def test_a_named_folder_must_be_there(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["check", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"mfuscope: {arguments[-1]} is no folder. Remedy: name a folder of results.\n"
    )
    assert not Path(arguments[-1]).is_dir()


def test_results_that_are_no_folder_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results").touch()
    assert main(["check"]) == 1
    assert capsys.readouterr().err.startswith("mfuscope: results is no folder. Remedy: ")


def test_each_invalid_file_is_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(results).write_text("{}")
    (results / "report.md").write_bytes(b"")
    assert main(["check"]) == 1
    said = capsys.readouterr()
    first, second = said.out.splitlines()
    assert first.startswith(f"{record(results)} is no run record (")
    assert second == "results/report.md is truncated"
    assert said.err == (
        "mfuscope: 2 of 32 results are invalid. Remedy: `mfuscope check --repair` removes them; "
        "the next `make run` makes them again.\n"
    )
    assert record(results).exists()


def test_a_repair_removes_them_and_says_so(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(results).write_bytes(b"")
    assert main(["check", "--repair"]) == 0
    said = f"{record(results)} is truncated: removed, its run is measured again\n"
    assert capsys.readouterr().out == said
    assert not record(results).exists()
    assert main(["check"]) == 0


def test_the_remedy_names_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other results"
    store_results(other)
    record(other).write_bytes(b"")
    assert main(["check", str(other)]) == 1
    assert f"`mfuscope check --repair '{other}'` removes" in capsys.readouterr().err


def test_a_repair_waits_for_nobody(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(results).write_bytes(b"")
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert main(["check", "--repair"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("mfuscope: another call is making these results. Remedy: wait ")
        assert record(results).exists()
        assert main(["check"]) == 1, "looking is allowed"
        holder.kill()


def test_what_cannot_be_read_ends_in_one_line(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(results).unlink()
    record(results).symlink_to(record(results).name)
    assert main(["check"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mfuscope: {record(results)} cannot be read or removed (")


def test_the_command_starts_without_torch_or_snakemake(tmp_path: Path) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"mfuscope": "mfuscope.workflow.cli:main"}
    code = "import sys, mfuscope.workflow.cli as cli; status = cli.main(sys.argv[1:])\n"
    code += "print(status, {'torch', 'snakemake', 'pandas'} & set(sys.modules))"
    command = [sys.executable, "-c", code, "check", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "0 results checked, all valid\n0 set()\n"
