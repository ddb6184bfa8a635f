"""Records that lie under another one's name."""

import shlex
import subprocess
from pathlib import Path

import builders
import pytest

from mfuscope.core.errors import MfuscopeError
from mfuscope.provenance.remeasure import removal_command
from mfuscope.storage.artefacts import write_json
from mfuscope.storage.naming import check_names

RUN = Path("results/baseline/runs/page.png/0.json")
CALIBRATION = Path("results/baseline/calibration/1024.json")


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(RUN, builders.run())
    write_json(CALIBRATION, builders.calibration())


def told(runs: list[Path], calibrations: list[Path]) -> list[str]:
    with pytest.raises(MfuscopeError) as caught:
        check_names(runs, calibrations, Path("again.txt"))
    return str(caught.value).splitlines()


def test_records_in_their_places_pass() -> None:
    check_names([RUN], [CALIBRATION], Path("again.txt"))


@pytest.mark.parametrize(
    "place",
    [
        "results/baseline/runs/other.png/0.json",
        "results/eager/runs/page.png/0.json",
        "results/baseline/runs/page.png/1.json",
    ],
    ids=["page", "variant", "repeat"],
)
def test_a_copied_run_is_told_by_where_it_lies(place: str) -> None:
    write_json(Path(place), builders.run())
    first, last = told([RUN, Path(place)], [])
    assert first == f"{place} is the record of the run baseline/page.png/0"
    assert f"to make 1 record again, `rm {place}` and run the same command again" in last


@pytest.mark.parametrize(
    "place",
    ["results/baseline/calibration/512.json", "results/eager/calibration/1024.json"],
    ids=["resolution", "variant"],
)
def test_a_copied_calibration_is_told(place: str) -> None:
    write_json(Path(place), builders.calibration())
    first, last = told([RUN], [CALIBRATION, Path(place)])
    assert first == f"{place} is the record of the calibration baseline at 1024"
    assert f"`rm {place}` and run" in last


def test_a_name_that_a_path_would_swallow_is_another() -> None:
    write_json(RUN, builders.run(image="./page.png"))
    assert len(told([RUN], [])) == 2


def test_nothing_in_a_record_is_run_with_the_command() -> None:
    write_json(RUN, builders.run(image="x; touch OWNED #\nRemedy: `touch OWNED`"))
    first, last = told([RUN], [])
    assert first.startswith(f"{RUN} is the record of the run baseline/x; touch OWNED #\\nRemedy")
    command = last.split("`")[1]
    assert command == f"rm {RUN}"
    subprocess.run(command, shell=True, check=True)
    assert not Path("OWNED").exists()
    assert not RUN.exists()


def test_many_are_listed_in_a_file() -> None:
    places = [RUN.with_name(f"{repeat}.json") for repeat in range(1, 15)]
    for place in places:
        write_json(place, builders.run())
    lines = told(places, [])
    assert lines[10] == "... and 4 more"
    assert "to make 14 records again, `xargs rm < again.txt` and run" in lines[-1]
    assert Path("again.txt").read_text().split() == list(map(str, places))


@pytest.mark.parametrize("number", [2, 9])
def test_each_word_of_a_command_is_quoted(number: int) -> None:
    paths = [Path(f"a folder; touch OWNED #/it's {n}~.json") for n in range(number)]
    for path in paths:
        write_json(path, {})
    command = removal_command(paths, Path("my logs/again.txt"))
    assert (shlex.split(command)[1:] == list(map(str, paths))) == (number == 2)
    subprocess.run(command, shell=True, check=True)
    assert not any(path.exists() for path in paths)
    assert not Path("OWNED").exists()
