"""Errors in the settings that Snakemake itself reads, from the exception that ends it.

Snakemake's own messages name neither the file nor the place, or are tracebacks.
"""

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yaml import MarkedYAMLError
from yaml.reader import ReaderError

from mfuscope.config.yaml_files import check_yaml_file
from mfuscope.core.errors import Findings, UserError

# Functions of Snakemake (module, name) and the local variable with the value that they read.
ENTRIES = ("snakemake.cli", "parse_config", "entry")
FILES = ("snakemake.common.configfile", "load_configfile", "configpath")
# Where files are merged into the settings; a recursive anchor ends there.
MERGES = (
    ("snakemake.workflow", "configfile", "fp"),
    ("snakemake.settings.types", "_get_overwrite_config", "f"),
)


def explain(error: BaseException) -> str | None:
    """One line on an error in reading settings; None for any other error."""
    if (entry := _local(error, *ENTRIES)) is not None:
        return str(_bad_entry(str(entry)))
    if (path := _local(error, *FILES)) is not None:
        return str(_bad_file(str(path), error))
    for merge in MERGES if isinstance(error, RecursionError) else ():
        if (path := _local(error, *merge)) is not None:
            findings = Findings()
            check_yaml_file(Path(path), findings)
            return findings.message or None
    return None


def _local(error: BaseException, module: str, function: str, variable: str) -> Any:
    """A local variable of a function in the error's traceback; None if it is not there."""
    file = module.replace(".", "/") + ".py"  # snakemake.workflow has no name while it runs rules
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_name == function and code.co_filename.endswith(file):
            return frame.f_locals.get(variable)
    return None


def _bad_entry(entry: str) -> UserError:
    key, equals, value = entry.partition("=")
    if not equals:
        problem = f"{entry!r} gives no value"
    elif key.isidentifier():
        problem = f"{key} has no value"
    else:
        problem = f"{key!r} is not the name of a setting"
    remedy = "write KEY=VALUE, e.g. repeats=5"
    *outer, inner = key.split(".")
    if outer and all(map(str.isidentifier, (*outer, inner))):
        nested = f"{inner}: {value or 'VALUE'}"
        for name in reversed(outer[1:]):
            nested = f"{name}: {{{nested}}}"
        remedy = f"write '{outer[0]}={{{nested}}}'"
    return UserError(f"--config: {problem}", remedy)


def _bad_file(path: str, error: BaseException) -> UserError:
    for cause in _chain(error):
        if isinstance(cause, MarkedYAMLError) and (mark := cause.problem_mark):
            return UserError(
                f"{path}, line {mark.line + 1}, column {mark.column + 1}: {_yaml_problem(cause)}",
                "repair the YAML there or in the lines before (blanks instead of tabs, quotes "
                "around text with `: ` or ` #` in it)",
            )
        if isinstance(cause, ReaderError):
            return UserError(
                f"{path}, character {cause.position + 1}: {cause.reason}", "remove that character"
            )
        if isinstance(cause, UnicodeDecodeError):
            # The error's position counts from the start of a chunk of the file, not of the file.
            whole = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
            before = re.split("[\udc80-\udcff]", whole, maxsplit=1)[0]
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            return UserError(
                f"{path}, line {line}, column {column}: this is not UTF-8", "save the file as UTF-8"
            )
        if isinstance(cause, OSError):
            return UserError(
                f"{path}: {cause.strerror or cause}", "name a file that exists and can be read"
            )
    if "at top level" in str(error):
        return UserError(f"{path}: holds no settings", "write lines such as `repeats: 5` into it")
    return UserError(f"{path}: {type(error).__name__}: {error}", "write it as YAML or JSON")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _yaml_problem(error: MarkedYAMLError) -> str:
    if not error.context:
        return str(error.problem)
    begun, ended = error.context_mark, error.problem_mark
    where = ""
    if begun and ended and begun.line != ended.line:
        where = f" that begins in line {begun.line + 1}"
    return f"{error.problem} ({error.context}{where})"
