"""Errors in settings that Snakemake itself reads, each in one line."""

from pathlib import Path

import pytest
from snakemake.cli import parse_config
from snakemake.common.configfile import load_configfile

from snakemake_logger_plugin_mfuscope import settings_errors


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("repeats", "'repeats' gives no value. Remedy: write KEY=VALUE, e.g. repeats=5."),
        ("images= ", "images has no value. Remedy: write KEY=VALUE, e.g. repeats=5."),
        ("2nd=3", "'2nd' is not the name of a setting. Remedy: write KEY=VALUE, e.g. repeats=5."),
        (
            "worker.pool.size=2",
            "'worker.pool.size' is not the name of a setting. Remedy: write "
            "'worker={pool: {size: 2}}'.",
        ),
    ],
)
def test_a_malformed_config_is_reported_in_one_line(entry: str, line: str) -> None:
    with pytest.raises(Exception) as caught:
        parse_config(["fine=1", entry])
    assert settings_errors.explain(caught.value) == f"--config: {line}"


def test_other_errors_are_not_explained() -> None:
    assert settings_errors.explain(ValueError("3 is not 4")) is None


REPAIR = (
    "repair the YAML there or in the lines before (blanks instead of tabs, quotes around text with "
    "`: ` or ` #` in it)"
)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            b"\nrepeats: [1,\n2\nb: 3",
            ", line 4, column 2: expected ',' or ']', but got ':' (while parsing a flow sequence "
            f"that begins in line 2). Remedy: {REPAIR}",
        ),
        (
            b"a: b: c",
            f", line 1, column 5: mapping values are not allowed here. Remedy: {REPAIR}",
        ),
        (
            b"a: {\n\tb: 1",
            ", line 2, column 1: found character '\\t' that cannot start any token (while scanning "
            f"for the next token). Remedy: {REPAIR}",
        ),
        (
            "# €".encode() + b"\n#" * 9000 + "\nStraße: Stra".encode() + b"\xdfe",
            ", line 9002, column 13: this is not UTF-8. Remedy: save the file as UTF-8",
        ),
        (
            b"a: \x00",
            ", character 4: special characters are not allowed. Remedy: remove that character",
        ),
        (b"", ": holds no settings. Remedy: write lines such as `repeats: 5` into it"),
        (b"- a", ": holds no settings. Remedy: write lines such as `repeats: 5` into it"),
        (
            b"a: 2026-13-01",
            ": ValueError: month must be in 1..12. Remedy: write it as YAML or JSON",
        ),
        (None, ": No such file or directory. Remedy: name a file that exists and can be read"),
    ],
)
def test_an_unreadable_configuration_file_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("my.yaml").write_bytes(content)
    with pytest.raises(Exception) as caught:
        load_configfile("my.yaml")
    assert settings_errors.explain(caught.value) == f"my.yaml{line}."
