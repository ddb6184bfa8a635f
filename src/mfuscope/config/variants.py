"""Names of variants: each one is a folder of results and a wildcard of the workflow."""

import re
from collections.abc import Iterable
from pathlib import Path

from mfuscope.config.values import quoted
from mfuscope.core.errors import Findings, UserError
from mfuscope.storage.paths import TEXTS

BASELINE = "baseline"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_TAKEN = {Path(name).parent.name for name in TEXTS}  # by results that belong to no variant
# Snakemake takes a wildcard value that ends in 20 equal parts for an endless recursion
# (PeriodicWildcardError).
_PERIODIC = re.compile(r"(.+)\1{19}$")


def check_names(names: Iterable[str], findings: Findings) -> None:
    """Add a finding for every name that cannot be a variant's."""
    seen: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            findings.add(
                UserError(
                    f"variants: {quoted(name)} cannot name a folder of results",
                    "use up to 40 letters, digits, '_' and '-'",
                )
            )
        elif name.lower() in _TAKEN:  # some disks do not distinguish capital letters
            findings.add(
                UserError(
                    f"variants: {name!r} names another folder of results already",
                    "use another name",
                )
            )
        elif _PERIODIC.search(name):
            findings.add(
                UserError(
                    f"variants: {name!r} ends in 20 or more equal parts, which Snakemake refuses",
                    "use another name",
                )
            )
        # Some disks do not distinguish capital letters.
        other = seen.setdefault(name.lower(), name)
        if other != name:
            findings.add(
                UserError(
                    f"variants: {quoted(other)} and {quoted(name)} differ only in capital letters "
                    "and would share one folder of results on some disks",
                    "rename one of them",
                )
            )
