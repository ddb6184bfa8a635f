"""Decode steps of real traces, in the data of a report and drawn."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from tried_data import GRAPHS, Made, report_of

from mfuscope.core.runs import RunKey
from mfuscope.core.timelines import StepTimeline
from mfuscope.report import timeline as module
from mfuscope.report.data import ReportData
from mfuscope.report.render import environment
from mfuscope.report.traced_steps import TracedStep
from mfuscope.traces.columns import read_trace
from mfuscope.traces.step_timeline import median_step

ROOT = Path(__file__).parents[2]


@cache
def real(name: str, steps: int) -> StepTimeline:
    """The median step of a trace in tests/data."""
    step, _ = median_step(read_trace(ROOT / "tests" / "data" / f"{name}.json.gz"), steps)
    assert step is not None
    return step


def traced(variant: str, step: StepTimeline | None, **changes: str) -> TracedStep:
    """The step of a variant's first page."""
    return TracedStep(key=RunKey(variant, "0.png", 0), step=step, **changes)


@cache
def compared() -> ReportData:
    """A reference, a variant that is shown to be faster, and a slower one."""
    data = report_of(
        baseline=Made(),
        graphs=Made(changes=GRAPHS, decode_ms=300.0),
        slow=Made(changes={"cache": "static"}, decode_ms=1200.0),
    )
    kept = "results/baseline/traces/0.png/0.json.gz"
    return replace(
        data,
        traced_steps=(
            traced("baseline", real("h100-counted-pass", 1), trace=kept),
            traced("graphs", real("h100-compiled", 8)),
            traced("slow", real("h100-trace", 3)),
        ),
    )


def html(data: ReportData) -> str:
    """The part of the report that draws them."""
    return environment().get_template("_timeline.html.j2").render(timeline=module, data=data)
