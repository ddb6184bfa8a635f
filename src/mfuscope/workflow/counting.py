"""Which hardware counters a call reads or makes, and of which page."""

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from mfuscope.core.counters import Counters
from mfuscope.core.errors import InvalidFileError
from mfuscope.core.runs import CalibrationKey
from mfuscope.planning.plan import Plan
from mfuscope.storage.paths import counters_path, stored_counters
from mfuscope.storage.validation import read_record


def wanted(plan: Plan, results: Path, keys: Iterable[CalibrationKey], *, new: bool) -> list[str]:
    """The records that are there, and those that are asked for.

    Args:
        keys: variants and resolutions of the reported runs.
        new: whether records may be made.
    """
    paths = {key: counters_path(results, key) for key in keys}
    return [
        str(path)
        for key, path in paths.items()
        if path.is_file() or (new and plan.counts_hardware(key.variant))
    ]


def counted_page(plan: Plan, results: Path, key: CalibrationKey) -> Path:
    """The page that was counted for a resolution, else its first one.

    Raises:
        UserError: the device is a CPU, or no page has that resolution.
    """
    plan.check_counters()
    pages = plan.pages_at(key)
    try:
        counted = Path(read_record(counters_path(results, key), Counters).counted.page.path)
    except (FileNotFoundError, InvalidFileError):
        return pages[0]
    return counted if counted in pages else pages[0]


def uncounted(results: Path) -> Iterator[str]:
    """A line for each record of hardware counters that holds none, with its reason."""
    for path in stored_counters(results):
        record = read_record(path, Counters)
        if not record.stages:
            key = CalibrationKey(record.variant, record.resolution)
            yield (
                f"hardware counters of {key}: none, {record.absent['stages']}; then "
                f"`rm {shlex.quote(str(path))}` and run the same command again"
            )
