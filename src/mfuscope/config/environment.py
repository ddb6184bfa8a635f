"""The layer of settings that comes from environment variables."""

import difflib
from collections.abc import Mapping
from typing import Any, Final

from mfuscope.core.errors import Findings, UserError

#: Environment variable -> setting. Values are strings; the schema decides their types.
ENVIRONMENT: Final = {
    "DSOCR_MODEL": "model",
    "DSOCR_IMAGE": "images",
    "DSOCR_DEVICE": "device",
    "DSOCR_USE_FLASH_ATTN": "attention",
    "DSOCR_MAX_NEW_TOKENS": "max_new_tokens",
    "MFU_PEAK_TFLOPS": "peak_tflops",
    "MFUSCOPE_RUNTIME_DIR": "worker.runtime_dir",
}
_PREFIXES = ("DSOCR_", "MFU_")  # any other variable that begins like this is a typo
_FLASH_SWITCH = {"1": "flash", "0": "sdpa"}


def read_environment(environment: Mapping[str, str], findings: Findings) -> dict[str, Any]:
    """The settings that variables of the environment set; an empty variable sets nothing."""
    layer: dict[str, Any] = {}
    for variable in sorted(environment):
        if variable.startswith(_PREFIXES) and variable not in ENVIRONMENT:
            near = difflib.get_close_matches(variable, ENVIRONMENT, n=1, cutoff=0.5)
            remedy = f"write {near[0]}, or unset it" if near else "unset it"
            findings.add(UserError(f"{variable} (from the environment) sets nothing", remedy))
    for variable, setting in ENVIRONMENT.items():
        value = environment.get(variable, "")
        if value == "":
            continue
        if variable == "DSOCR_USE_FLASH_ATTN":
            if value not in _FLASH_SWITCH:
                findings.add(UserError(f"DSOCR_USE_FLASH_ATTN is {value!r}", "set it to 1 or 0"))
                continue
            value = _FLASH_SWITCH[value]
        group, _, key = setting.rpartition(".")
        (layer.setdefault(group, {}) if group else layer)[key] = value
    return layer
