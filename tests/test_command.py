"""The command that measures the same again."""

import shlex

from hypothesis import given
from hypothesis import strategies as st

from mfuscope.command import command_line


def test_nothing_given_is_the_bare_command() -> None:
    assert command_line({}, {"HOME": "/root"}, []) == "snakemake --cores 1 --resources gpu=1"


def test_environment_files_and_overrides_are_told() -> None:
    found = command_line(
        {"repeats": 5, "profiler": {"keep_traces": "none"}},
        {"DSOCR_IMAGE": "my pages", "PATH": "/bin"},
        ["other.yaml"],
    )
    assert found == (
        "DSOCR_IMAGE='my pages' snakemake --cores 1 --resources gpu=1 --configfile other.yaml "
        '--config repeats=5 \'profiler={"keep_traces": "none"}\''
    )


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_a_shell_reads_back_what_was_given(value: str) -> None:
    words = shlex.split(command_line({"images": value}, {"DSOCR_MODEL": value}, [value]))
    assert f"DSOCR_MODEL={value}" in words
    assert f"images={value}" in words
    assert value in words
