"""The command ``mfuscope``: checks the results, and repairs them, without Snakemake."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mfuscope.core.errors import MfuscopeError, UserError
from mfuscope.storage.integrity import find_invalid
from mfuscope.storage.locks import hold_results
from mfuscope.storage.paths import stored_artefacts
from mfuscope.storage.repair import repair
from mfuscope.storage.space import report_access

_DEFAULT: Final = Path("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    given = _parser().parse_args(arguments)
    try:
        results = given.results or _DEFAULT
        with report_access(results):
            if (given.results or results.exists()) and not results.is_dir():
                raise UserError(f"{results} is no folder", "name a folder of results")
            return _check(results, repairs=given.repair)
    except MfuscopeError as error:
        for line in str(error).splitlines():
            print(f"mfuscope: {line}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mfuscope", description="Looks after results.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="list every invalid file among the results",
        description="List every invalid file among the results: truncated, under another one's "
        "name, or without what its readers rely on. The exit status is 1 if there is any.",
    )
    check.add_argument("results", metavar="RESULTS", nargs="?", type=Path)
    check.add_argument(
        "--repair",
        action="store_true",
        help="remove these files, so that the next call makes them again; the exit status is 0",
    )
    return parser


def _check(results: Path, *, repairs: bool) -> int:
    if repairs and results.is_dir():
        hold_results(results)
    checked, found = len(stored_artefacts(results)), find_invalid(results)
    if not found:
        if checked or not repairs:  # before a first call there is nothing to say
            print(f"{checked} results checked, all valid")
        return 0
    if repairs:
        for line in repair(found):
            print(line)
        return 0
    for finding in found:
        print(finding)
    argument = "" if results == _DEFAULT else f" {shlex.quote(str(results))}"
    raise UserError(
        f"{len(found)} of {checked} results are invalid",
        f"`mfuscope check --repair{argument}` removes them; the next `make run` makes them again",
    )
