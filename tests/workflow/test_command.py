"""The command that measures the same again."""

import json
import shlex
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from validate import schemas

from mfuscope.config.settings import resolve_settings
from mfuscope.workflow.command import command_line

SCHEMA = schemas()["config.schema.yaml"]


def overrides(
    file: dict[str, Any], given_: dict[str, Any], environment: dict[str, str]
) -> dict[str, Any]:
    made = resolve_settings(file=file, command_line=given_, environment=environment, schema=SCHEMA)
    return dict(made.overrides)


def test_the_defaults_are_the_bare_command() -> None:
    same = {"repeats": 3, "profiler": {"record_shapes": False}, "variants": {"baseline": None}}
    found = overrides(same, {}, {})
    assert command_line(found) == "snakemake --cores 1 --resources gpu=1"


def test_it_is_the_same_wherever_settings_are_given() -> None:
    environment = {"DSOCR_MAX_NEW_TOKENS": "5"}
    calls = [
        overrides({"max_new_tokens": 5, "images": "my pages"}, {}, {}),
        overrides({}, {"images": "my pages", "max_new_tokens": "5"}, {}),
        overrides({"max_new_tokens": 7}, {"images": "my pages"}, environment),
    ]
    assert {command_line(call) for call in calls} == {
        "snakemake --cores 1 --resources gpu=1 --config 'images=my pages' max_new_tokens=5"
    }


def test_what_measures_nothing_is_left_out() -> None:
    profiler = {"keep_traces": "none", "decode_steps": 5}
    found = overrides({"worker": {"keep_alive": 0}, "profiler": profiler}, {}, {})
    assert command_line(found).endswith(" --config 'profiler={\"decode_steps\": 5}'")
    assert "--config" not in command_line({"profiler": {"keep_traces": "none"}})


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_a_shell_reads_back_what_was_given(value: str) -> None:
    words = shlex.split(command_line({"images": value, "variants": {"a": {"prompt": value}}}))
    assert f"images={value}" in words
    assert json.loads(words[-1].removeprefix("variants=")) == {"a": {"prompt": value}}


def test_variants_keep_their_order_and_the_empty_reference() -> None:
    """The first one is the reference; a name that is a setting's elsewhere is a name here."""
    given_ = {"variants": {"z": None, "a": {"cache": "static"}, "worker": {"dtype": "fp16"}}}
    words = shlex.split(command_line(overrides(given_, {}, {})))
    found = json.loads(words[-1].removeprefix("variants="))
    assert list(found.items()) == [
        ("z", {}),
        ("a", {"cache": "static"}),
        ("worker", {"dtype": "fp16"}),
    ]
