"""The command that removes what is to be measured again."""

import shlex
import subprocess
from pathlib import Path

import pytest

from mfuscope.provenance.remeasure import count, removal_command
from mfuscope.storage.artefacts import write_json


@pytest.mark.parametrize("number", [2, 9])
def test_each_word_of_a_command_is_quoted(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path(f"a folder; touch OWNED #/it's {n}~.json") for n in range(number)]
    for path in paths:
        write_json(path, {})
    command = removal_command(paths, Path("my logs/again.txt"))
    assert (shlex.split(command)[1:] == list(map(str, paths))) == (number == 2)
    subprocess.run(command, shell=True, check=True)
    assert not any(path.exists() for path in paths)
    assert not Path("OWNED").exists()


def test_one_run_is_no_plural() -> None:
    assert (count(1), count(2)) == ("1 run", "2 runs")
