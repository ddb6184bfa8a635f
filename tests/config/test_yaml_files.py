"""Repeated keys, recursive anchors and syntax errors of configuration files, with their places."""

import os
from pathlib import Path

import pytest
import yaml
from checkpoints import ROOT

from mfuscope.config.yaml_files import check_yaml_file
from mfuscope.core.errors import Findings, UserErrors


def problems(path: Path) -> list[str]:
    findings = Findings()
    check_yaml_file(path, findings)
    if not findings:
        return []
    with pytest.raises(UserErrors) as caught:
        findings.raise_any()
    errors = caught.value.errors
    assert all("Remedy: correct the file" in str(error) for error in errors)
    assert all(str(error).isprintable() for error in errors)
    return [error.problem.removeprefix(str(path)) for error in errors]


def problems_of(text: str | bytes, folder: Path, name: str = "config.yaml") -> list[str]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return problems(path)


def test_the_bundled_file_is_valid() -> None:
    assert problems(ROOT / "config" / "config.yaml") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "repeats: 1\nwarmup: 2\nrepeats: 3\n",
            [", line 3, column 1: the key 'repeats' is set a second time (first in line 1)"],
        ),
        (
            "repeats: 1\n'repeats': 2\nvariants:\n  a: {dtype: fp32,\n    dtype: bf16}\n  a: {}\n",
            [
                ", line 2, column 1: the key 'repeats' is set a second time (first in line 1)",
                ", line 5, column 5: the key 'dtype' is set a second time (first in line 4)",
                ", line 6, column 3: the key 'a' is set a second time (first in line 4)",
            ],
        ),
        (
            "- {a: 1}\n- {a: 2}\n- {b: {a: 3}, a: [a, a, {a: 4}], c: a}\n",
            [],
        ),
        ("base: &base {repeats: 3}\nworker: {<<: *base, repeats: 2}\n? [a, b]\n: 1\n", []),
        ("variants: &v {a: *v}\n", [", line 1, column 18: the anchor 'v' contains itself"]),
        ("a: 1\nb: &m\n  - [x, *m]\n", [", line 3, column 9: the anchor 'm' contains itself"]),
        ("a: &m [1]\nb: [*m, *m]\n", []),
        ("a: &m [1]\nb: &m [*m]\n", [", line 2, column 8: the anchor 'm' contains itself"]),
        ("a: " + "[" * 500, [", line 1, column 23: more than 20 levels are nested"]),
        ("a: 1\na: 2\nb: [1", ["second time", "no valid YAML"]),
        ("\tprompt: tab", [", line 1, column 1: no valid YAML (found character '\\t'"]),
        (b"a: b\xff", ["cannot be read ('utf-8' codec can't decode byte 0xff in position 4"]),
        (b"a: \x07", ["no valid YAML (unacceptable character #x0007"]),
        ("", []),
    ],
)
def test_problems_have_their_places(text: str | bytes, expected: list[str], tmp_path: Path) -> None:
    found = problems_of(text, tmp_path)
    assert len(found) == len(expected)
    assert all(wanted in one for wanted, one in zip(expected, found, strict=True))


def test_what_is_found_is_what_the_loader_hides_or_dies_of() -> None:
    """The reason for these checks; if PyYAML makes them itself one day, they can go."""
    assert yaml.safe_load("a: 1\na: 2") == {"a": 2}
    with pytest.raises(RecursionError):
        yaml.safe_load("[" * 500 + "]" * 500)
    recursive = yaml.safe_load("v: &v {a: *v}")["v"]
    assert recursive["a"] is recursive


def test_json_may_be_indented_with_tabs(tmp_path: Path) -> None:
    text = '{\n\t"repeats":1,\n\t"prompt": "a\\tb: c",\n\t"repeats": 2\n}'
    assert problems_of(text.replace('"repeats": 2', '"warmup": 2'), tmp_path, "c.json") == []
    (found,) = problems_of(text, tmp_path, "config.json")
    assert found.startswith(", line 4, column 2: the key 'repeats' is set a second time")


def test_pipes_and_missing_files_are_left_to_snakemake(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert problems(tmp_path / "pipe") == []
    assert problems(tmp_path / "missing.yaml") == []
