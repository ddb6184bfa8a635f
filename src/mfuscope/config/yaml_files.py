"""Checks of a configuration file's YAML that the loader does not make.

PyYAML takes the last of several equal keys silently, and follows an anchor that contains itself
until Python's stack ends. Both are found here from the parser's events, which build nothing.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mfuscope.config.values import DEEPEST, quoted
from mfuscope.core.errors import Findings, UserError


@dataclass(slots=True)
class _Collection:
    """A mapping or sequence that the parser is within.

    Attributes:
        keys: key -> the mark of its first appearance.
        key_is_next: whether the next node of a mapping is a key.
    """

    anchor: str | None
    is_mapping: bool
    keys: dict[str, Any] = field(default_factory=dict)
    key_is_next: bool = True


def check_yaml_file(path: Path, findings: Findings) -> None:
    """Add what is wrong with the YAML of a configuration file, with line and column.

    Finds repeated keys, recursive anchors, too deep nesting, text that is not UTF-8, and syntax
    errors. A path that is no regular file is left to Snakemake: a pipe can be read only once.
    """
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{path}: the configuration file cannot be read ({error})"
        findings.add(UserError(problem, "correct the file; it must be UTF-8 text"))
        return
    with suppress(ValueError, RecursionError):
        json.loads(text)
        text = text.replace("\t", " ")  # JSON may be indented with tabs, YAML may not
    try:
        for problem, mark in _problems(text):
            findings.add(UserError(f"{_place(path, mark)}: {problem}", "correct the file"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"{_place(path, mark)}: no valid YAML ({error.problem})"
        findings.add(UserError(problem, "correct the file"))
    except yaml.YAMLError as error:
        findings.add(UserError(f"{path}: no valid YAML ({error})", "correct the file"))


def _problems(text: str) -> Iterator[tuple[str, Any]]:
    """Problems and their places; ends at the first one that a loader could not get over.

    Raises:
        yaml.YAMLError: a syntax error.
    """
    stack: list[_Collection] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
        if not isinstance(event, yaml.NodeEvent):
            continue
        if isinstance(event, yaml.AliasEvent) and event.anchor in [one.anchor for one in stack]:
            yield f"the anchor {event.anchor!r} contains itself", event.start_mark
            return
        if stack and stack[-1].is_mapping:
            yield from _repeated_key(stack[-1], event)
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(_Collection(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            if len(stack) > DEEPEST:
                yield f"more than {DEEPEST} levels are nested", event.start_mark
                return


def _repeated_key(mapping: _Collection, event: Any) -> Iterator[tuple[str, Any]]:
    """The problem of a node that is a key of its mapping for the second time."""
    is_key, mapping.key_is_next = mapping.key_is_next, not mapping.key_is_next
    if is_key and isinstance(event, yaml.ScalarEvent):
        mark: Any = event.start_mark
        first = mapping.keys.setdefault(event.value, mark)
        if first is not mark:
            again = f"is set a second time (first in line {first.line + 1})"
            yield f"the key {quoted(event.value)} {again}", mark


def _place(path: Path, mark: Any) -> str:
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
