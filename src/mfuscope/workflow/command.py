"""The command that measures the same again."""

import json
import shlex
from collections.abc import Collection, Mapping
from typing import Any

# They change how a call goes, and nothing of what it measures.
_NO_MATTER = {"worker", "flops", "keep_traces"}


def command_line(overrides: Mapping[str, Any], left_out: Collection[str] = ()) -> str:
    """The call, for a POSIX shell, with the configuration file as it is delivered.

    The same for the same settings, wherever they were given: file, environment or command line.

    Args:
        overrides: settings that are not the defaults (`settings.Settings.overrides`).
        left_out: variants that the device did not measure.
    """
    matter = _matter(overrides)
    if left_out:
        variants = matter["variants"].items()
        matter["variants"] = {name: one for name, one in variants if name not in left_out}
    words = ["snakemake", "--cores", "1", "--resources", "gpu=1"]
    if matter:
        words += ["--config", *(shlex.quote(f"{key}={_value(matter[key])}") for key in matter)]
    return " ".join(words)


def _matter(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sorted, without what does not matter."""
    found: dict[str, Any] = {}
    for key, value in sorted(settings.items()):
        if key in _NO_MATTER:
            continue
        if key == "variants":  # in their order, as the first is the reference, which may be empty
            found[key] = {name: one or {} for name, one in value.items()}
            continue
        kept = _matter(value) if isinstance(value, Mapping) else value
        if kept != {}:
            found[key] = kept
    return found


def _value(value: Any) -> str:
    # JSON is YAML, which snakemake reads the value as.
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
