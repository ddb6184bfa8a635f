"""Removing invalid results, so that the next call makes them again.

Only the invalid file goes, with the operator table where that makes Snakemake notice. A truncated
trace costs no measurement while the tables that were read from it are there, as the run's record
stays; to have such a trace again, remove the record, too.
"""

from collections.abc import Iterable, Iterator

from mfuscope.storage.integrity import Finding


def repair(findings: Iterable[Finding]) -> Iterator[str]:
    """Remove invalid files and what must go with them.

    Yields:
        What was removed, a line for each finding.

    Raises:
        OSError: a file cannot be removed.
    """
    for finding in findings:
        for path in finding.removed:
            path.unlink(missing_ok=True)
        yield f"{finding}: removed, {finding.consequence}"
