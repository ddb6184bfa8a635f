"""The command that measures the same again."""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from mfuscope.settings import ENVIRONMENT


def command_line(
    config: Mapping[str, Any], environment: Mapping[str, str], configfiles: Iterable[str]
) -> str:
    """What was called, for a POSIX shell: environment, snakemake, files and overrides.

    Args:
        config: what ``--config`` gave.
        environment: the process's; only mfuscope's variables count.
        configfiles: what ``--configfile`` gave.
    """
    words = [
        f"{name}={shlex.quote(environment[name])}" for name in ENVIRONMENT if environment.get(name)
    ]
    words += ["snakemake", "--cores", "1", "--resources", "gpu=1"]
    words += [word for path in configfiles for word in ("--configfile", shlex.quote(str(path)))]
    if config:
        words += ["--config", *(shlex.quote(f"{key}={_value(config[key])}") for key in config)]
    return " ".join(words)


def _value(value: Any) -> str:
    # JSON is YAML, which snakemake reads the value as.
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
