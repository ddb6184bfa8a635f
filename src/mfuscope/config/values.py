"""Which values settings may have: text, finite numbers, lists, and mappings with text keys.

YAML allows more: dates, bytes, keys of any kind, and a few lines that expand to billions of values.
These are refused here, so that no other module has to expect them.
"""

import datetime
import json
import math
from collections.abc import Mapping
from typing import Any

from mfuscope.core.errors import Findings, UserError

_MOST_VALUES = 10_000
DEEPEST = 20  # levels of nesting
_LARGEST = 1 << 63
_LONGEST = 100  # characters of a value in a message


def check_plain(settings: Mapping[Any, Any], layer: str, findings: Findings) -> bool:
    """Add a finding for every value and key that settings cannot have.

    Args:
        layer: words that name where the settings were given; empty for a file.

    Returns:
        Whether all of them are plain.
    """
    left = _MOST_VALUES
    fine = True
    queue: list[tuple[str, Any, int]] = [("", settings, 0)]
    while queue:
        place, value, depth = queue.pop()
        left -= 1
        if left < 0 or depth > DEEPEST:
            much = f"{_MOST_VALUES} values" if left < 0 else f"{DEEPEST} levels"
            problem = f"the settings hold more than {much}{layer}"
            findings.add(UserError(problem, "remove what is no setting"))
            return False
        if isinstance(value, Mapping):
            for key, inner in value.items():
                name = f"{place}.{key}" if place else str(key)
                if not isinstance(key, str) or _flaw(key):
                    findings.add(_odd_key(place, key, layer))
                    fine = False
                else:
                    queue.append((name, inner, depth + 1))
        elif isinstance(value, list):
            queue += [(f"{place}.{number}", one, depth + 1) for number, one in enumerate(value)]
        elif flaw := _flaw(value):
            what, remedy = flaw
            findings.add(UserError(f"setting {quoted(place)} is {what}{layer}", remedy))
            fine = False
    return fine


def shorten(value: Any) -> str:
    """A plain value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def quoted(name: str) -> str:
    """A name in quotes, cut where it is long."""
    return repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]} ...")


def _odd_key(place: str, key: Any, layer: str) -> UserError:
    shown = shorten(key) if key is None or isinstance(key, str | int | float) else "one"
    where = f"{quoted(place)} has a key" if place else "the settings have a key"
    return UserError(f"{where} that is no proper text, {shown}{layer}", "write it in quotes")


def _flaw(value: Any) -> tuple[str, str] | None:
    """What is wrong with a value, and what to do about it."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if abs(value) < _LARGEST else ("beyond 64 bits", "use a smaller number")
    if isinstance(value, float):
        return None if math.isfinite(value) else (str(value), "use a finite number")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "no valid text (a file name that is no UTF-8?)", "write it in UTF-8"
        return ("text with a null character", "leave that out") if "\0" in value else None
    if isinstance(value, datetime.date | datetime.time):
        return f"a date to YAML ({value.isoformat()})", "write it in quotes"
    return "of a kind that only YAML knows", "write plain text, numbers, lists or mappings"
