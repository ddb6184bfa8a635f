"""What a run and a call measured, in the few words that a terminal shows."""

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

from mfuscope.core.errors import InvalidFileError
from mfuscope.core.runs import RunKey
from mfuscope.storage.artefacts import read_json
from mfuscope.storage.paths import RunPaths
from mfuscope.workflow.words import amount, counted

_LATEST: Final = 60  # runs that tell how long the next ones take


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The headline times of one run; no rate for a single new token."""

    prefill_ms: float
    tokens_per_s: float | None


@dataclass(frozen=True, slots=True)
class _Host:
    started_at: float


@dataclass(frozen=True, slots=True)
class _Pass:
    prefill_ms: float
    decode_ms: float
    step_ms: list[float]
    host: _Host


@dataclass(frozen=True, slots=True)
class _Session:
    call: str
    process: str


@dataclass(frozen=True, slots=True)
class _Device:
    kind: str


@dataclass(frozen=True, slots=True)
class _Run:
    """The part of a run's record that is read here."""

    passes: list[_Pass]
    settings: dict[str, Any]
    session: _Session
    device: _Device


# Half the width of an interval of a logarithm whose ends differ by ten times.
_WIDEST: Final = math.log(10) / 2


@dataclass(frozen=True, slots=True)
class _Stat:
    n: int
    mean: float | None
    ci95_high: float | None


@dataclass(frozen=True, slots=True)
class _Answer:
    new_tokens_mean: float


@dataclass(frozen=True, slots=True)
class _Variant:
    answer: _Answer
    headline: dict[str, _Stat]


@dataclass(frozen=True, slots=True)
class _First:
    title: str
    gain: str
    confidence: str


@dataclass(frozen=True, slots=True)
class _Warning:
    check: str


@dataclass(frozen=True, slots=True)
class _Measured:
    pages: int
    repeats: int


@dataclass(frozen=True, slots=True)
class _Head:
    """The part of report.json that is read here."""

    verdict: str
    do_first: _First | None
    variants: list[_Variant]
    warnings: list[_Warning]
    measured: _Measured


def run_times(record: Path) -> RunTimes:
    """The times of a run, as metrics.csv has them: of each stage the median of the timed passes.

    Raises:
        InvalidFileError: the file is no run's record.
        FileNotFoundError: there is no file.
    """
    run = read_json(record, _Run)
    if not run.passes:
        raise InvalidFileError(record, "has no timed pass")
    decode = sorted(run.passes, key=lambda one: one.decode_ms)[len(run.passes) // 2]
    steps = len(decode.step_ms) * int(run.settings["batch_size"])
    prefill_ms = median(one.prefill_ms for one in run.passes)
    return RunTimes(prefill_ms, steps / (decode.decode_ms / 1e3) if steps else None)


def seconds_of_runs(
    results: Path, runs: Iterable[RunKey], kind: str, is_current: Callable[[RunKey], bool]
) -> dict[str, float]:
    """How long runs of each variant take in seconds, with what the process does between them.

    The median over the latest runs: from the start of a run's timed passes to that of the next run
    of its process. Variants without such a pair are left out.

    Args:
        kind: of the device that measures now.
        is_current: whether a run has a record of what is asked for now.
    """
    dated = []
    for key in runs:
        path = RunPaths.of(results, key).record
        if path.is_file():
            dated.append((path.stat().st_mtime, key, path))
    started: dict[_Session, list[tuple[float, str]]] = defaultdict(list)
    for _, key, path in heapq.nlargest(_LATEST, dated):
        if not is_current(key):
            continue
        run = read_json(path, _Run)
        if run.passes and run.device.kind == kind:
            started[run.session].append((run.passes[0].host.started_at, key.variant))
    seconds: dict[str, list[float]] = defaultdict(list)
    for begun in started.values():
        for (start, variant), (following, _) in pairwise(sorted(begun)):
            seconds[variant].append(following - start)
    return {variant: median(found) for variant, found in seconds.items()}


def expected_seconds(planned: Iterable[RunKey], seconds: Mapping[str, float]) -> float | None:
    """How long runs take one after the other; None where a variant of theirs is not known."""
    total = 0.0
    for run in planned:
        if run.variant not in seconds:
            return None
        total += seconds[run.variant]
    return total


def verdict(report: Path) -> Iterator[str]:
    """What report.json says: the verdict, what to do first, the page time, and how sure they are.

    Raises:
        InvalidFileError: the file is no report's head.
    """
    head = read_json(report, _Head)
    yield head.verdict
    if (first := head.do_first) is not None:
        gain = f": {first.gain}" if first.gain else ""
        yield f"do first: {first.title}{gain}" + f" ({first.confidence})" * bool(first.confidence)
    yield _page_time(head.variants[0], head.measured)
    if head.warnings:
        checks = "; ".join(warning.check for warning in head.warnings)
        yield f"checks not passed: {checks}"


def _page_time(variant: _Variant, measured: _Measured) -> str:
    """The page time, with how sure it is."""
    page = variant.headline["page_ms"]
    if page.mean is None:
        return "no headline number: a rule of validity withholds it (the report says which)"
    tokens = counted(f"{variant.answer.new_tokens_mean:,.0f}", "new token")
    of = f"({counted(measured.pages, 'page')} × {counted(measured.repeats, 'repeat')})"
    time = f"a page of {tokens} takes {amount(page.mean)} ms"
    if page.ci95_high is None or not page.mean:
        return f"{time}, from too few pages for an interval {of}"
    half = page.ci95_high / page.mean - 1  # of logarithms, as in the report
    if half > _WIDEST:
        return f"{time}, give or take more than that {of}"
    between = f"{amount(page.mean * math.exp(-half))} to {amount(page.mean * math.exp(half))} ms"
    return f"{time}, 95 % interval {between} {of}"
