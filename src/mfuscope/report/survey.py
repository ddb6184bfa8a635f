"""Facts of all runs for the report, collected one run at a time."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfuscope.core.records import (
    Compilation,
    Conditions,
    Device,
    Model,
    Pass,
    Prompt,
    Run,
    Versions,
)
from mfuscope.core.runs import RunKey
from mfuscope.metrics.operator_work import TracedPass
from mfuscope.metrics.run_metrics import key_of
from mfuscope.metrics.workload import mean_context

Floats = NDArray[np.float32]

#: Conditions that are numbers, with their units.
CONDITIONS = {
    "sm_clock_mhz": "MHz",
    "memory_clock_mhz": "MHz",
    "temperature_c": "°C",
    "power_w": "W",
}


class Tokens(NamedTuple):
    """Tokens of a page in a variant; new tokens may differ between repeats."""

    prompt: int
    new_least: int
    new_most: int


@dataclass(slots=True)
class Compiled:
    """What torch.compile did in a variant.

    Attributes:
        breaks: most graph breaks of a run; `reasons` has each reason once.
        recompilations: most of a run.
        least_graphs: fewest captured graphs of a run.
        discarded_passes: of all runs together.
    """

    breaks: int = 0
    reasons: dict[str, None] = field(default_factory=dict)
    recompilations: int = 0
    least_graphs: int | None = None
    discarded_passes: int = 0

    def add(self, one: Compilation) -> None:
        """Add that of a run."""
        self.breaks = max(self.breaks, len(one.graph_breaks))
        self.reasons |= dict.fromkeys(one.graph_breaks)
        self.recompilations = max(self.recompilations, one.recompilations)
        known = one.graphs if self.least_graphs is None else self.least_graphs
        self.least_graphs = min(known, one.graphs)
        self.discarded_passes += one.discarded_passes


@dataclass(slots=True)
class Survey:
    """Facts of all runs.

    Attributes:
        keys: of all runs.
        runs: number of runs by variant.
        passes: timed passes by (variant, image), of all repeats together.
        models: by variant, each once.
        devices: the devices, each once, by name and UUID.
        versions: number of runs by software.
        first, last: when the first and the last run was measured (UTC, ISO 8601).
        prompts: by variant, each once, with its number of tokens.
        resolution: by (variant, image).
        tokens: by (variant, image).
        contexts: summed mean context of the decode steps, and runs, by (variant, resolution).
        disagreeing: runs whose passes made different tokens.
        throttled: runs by variant and throttle reason, before or after the timed pass.
        conditions: least and most by name, before and after the timed passes.
        absent: number of runs by (field, reason).
        contents: SHA-256 of the measured file by (variant, image), each once.
        commits: number of runs by commit of mfuscope; None where not known.
        traced: what decides the work of each run's traced pass.
        traced_steps: decode steps of the traced and of the timed pass, each pair once.
        steps: decode step times of the timed passes in ms, one array a run, by variant.
        compiled: what was compiled, by variant.
        unattributed: number of runs with replayed kernels of unknown operators, by variant and
            reason.
        spans: when the first and the last run was measured, by variant.
    """

    keys: set[RunKey] = field(default_factory=set)
    runs: Counter[str] = field(default_factory=Counter)
    passes: Counter[tuple[str, str]] = field(default_factory=Counter)
    models: dict[str, list[Model]] = field(default_factory=lambda: defaultdict(list))
    devices: dict[tuple[str, str | None], Device] = field(default_factory=dict)
    versions: Counter[Versions] = field(default_factory=Counter)
    prompts: dict[str, dict[Prompt, int]] = field(default_factory=lambda: defaultdict(dict))
    first: str = ""
    last: str = ""
    resolution: dict[tuple[str, str], str] = field(default_factory=dict)
    tokens: dict[tuple[str, str], Tokens] = field(default_factory=dict)
    contexts: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    disagreeing: list[RunKey] = field(default_factory=list)
    throttled: dict[tuple[str, str], list[RunKey]] = field(
        default_factory=lambda: defaultdict(list)
    )
    conditions: dict[str, tuple[float, float]] = field(default_factory=dict)
    absent: Counter[tuple[str, str]] = field(default_factory=Counter)
    contents: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    traced: dict[RunKey, TracedPass] = field(default_factory=dict)
    traced_steps: set[tuple[int, int]] = field(default_factory=set)
    commits: Counter[str | None] = field(default_factory=Counter)
    steps: dict[str, list[Floats]] = field(default_factory=lambda: defaultdict(list))
    compiled: dict[str, Compiled] = field(default_factory=dict)
    unattributed: Counter[tuple[str, str]] = field(default_factory=Counter)
    spans: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of runs."""
        return sum(self.runs.values())

    def reasons(self, name: str) -> list[str]:
        """Why a field of the runs is absent, where it is."""
        return [reason for field_name, reason in self.absent if field_name == name]

    def add(self, run: Run) -> None:
        """Add a run."""
        key, timed = key_of(run), run.timed
        self.keys.add(key)
        page = (run.variant, run.image)
        self.runs[run.variant] += 1
        self.passes[page] += len(run.passes)
        if run.model not in self.models[run.variant]:
            self.models[run.variant].append(run.model)
        self.devices.setdefault((run.device.name, run.device.uuid), run.device)
        self.versions[run.versions] += 1
        self.commits[run.commit] += 1
        self.traced[key] = TracedPass.of(run)
        self.traced_steps.add((len(run.traced.step_ms), len(timed.step_ms)))
        self.steps[run.variant].append(np.array(timed.step_ms, dtype=np.float32))
        self.first = min(self.first or run.measured_at, run.measured_at)
        self.last = max(self.last, run.measured_at)
        first, last = self.spans.get(run.variant, (run.measured_at, run.measured_at))
        self.spans[run.variant] = (min(first, run.measured_at), max(last, run.measured_at))
        if run.compilation is not None:
            self.compiled.setdefault(run.variant, Compiled()).add(run.compilation)
        if reason := run.absent.get("graph_operators"):
            self.unattributed[run.variant, reason] += 1
        self.resolution[page] = run.page.resolution
        self.contents[page].add(run.page.sha256)
        self._add_tokens(page, run)
        if run.prompt is not None:
            self.prompts[run.variant][run.prompt] = run.prompt_tokens
        if not run.passes_agree:
            self.disagreeing.append(key)
        conditions = [c for p in run.passes for c in (p.conditions_before, p.conditions_after)]
        for reason in sorted({r for c in conditions for r in c.throttle_reasons or ()}):
            self.throttled[run.variant, reason].append(key)
        for one in conditions:
            self._add_conditions(one)
        self.absent.update({*run.absent.items(), *_absences(timed), *_absences(run.traced)})

    def _add_tokens(self, page: tuple[str, str], run: Run) -> None:
        new = run.timed.new_tokens
        known = self.tokens.get(page)
        self.tokens[page] = Tokens(
            run.prompt_tokens,
            min(known.new_least, new) if known else new,
            max(known.new_most, new) if known else new,
        )
        place = (run.variant, run.page.resolution)
        if new > 1:
            total, count = self.contexts.get(place, (0.0, 0))
            self.contexts[place] = (total + mean_context(run.prompt_tokens, new), count + 1)

    def _add_conditions(self, conditions: Conditions) -> None:
        for name in CONDITIONS:
            value = getattr(conditions, name)
            if value is not None:
                least, most = self.conditions.get(name, (value, value))
                self.conditions[name] = (min(least, value), max(most, value))


def survey_runs(runs: Iterable[Run]) -> Survey:
    """The facts of these runs; every run is read once and not kept."""
    survey = Survey()
    for run in runs:
        survey.add(run)
    return survey


def _absences(one: Pass) -> Iterator[tuple[str, str]]:
    for absent in (one.absent, one.conditions_before.absent, one.conditions_after.absent):
        yield from absent.items()
