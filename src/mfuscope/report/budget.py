"""flops.md: the FLOP budget as tables."""

from collections.abc import Iterable
from typing import Any

from mfuscope.flops.components import TOTAL
from mfuscope.report.cells import Cell, Table, absent, amount, build, figure, label
from mfuscope.report.flops import component_name
from mfuscope.report.render import environment

Row = dict[str, Any]


def render_budget(rows: list[Row]) -> str:
    """The text of flops.md from the rows of flops.csv (`mfuscope.flops.budget.budget`)."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    return (
        environment()
        .get_template("flops.md.j2")
        .render(
            totals=totals(rows),
            models=[
                (name, [components(_of(rows, name), stage) for stage in ("prefill", "decode")])
                for name in models
            ],
            differing=[
                f"{row['model']} at {row['resolution']}, {row['stage']}, {row['component']}"
                for row in rows
                if row["counted_gflops"] != row["architecture_gflops"]
            ],
        )
    )


def _of(rows: Iterable[Row], model: str) -> list[Row]:
    return [row for row in rows if row["model"] == model]


def totals(rows: Iterable[Row]) -> Table:
    """One line per model and resolution."""
    pairs: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row["component"] == TOTAL:
            pairs.setdefault((row["model"], row["resolution"]), {})[row["stage"]] = row
    return build(
        "GFLOPs of one prefill and of the first decode step, and the bytes that this step must "
        "read in bf16",
        (
            "Model",
            "Resolution",
            "Prompt tokens",
            "Prefill",
            "Prefill, directional ÷ counted",
            "Decode step",
            "Decode step, directional ÷ counted",
            "Active weights, GB",
            "KV cache, MB",
        ),
        (
            (
                label(model),
                Cell(resolution),
                amount(str(stages["prefill"]["prompt_tokens"])),
                *_total(stages["prefill"]),
                *_total(stages["decode"]),
                figure(stages["decode"]["weight_bytes"] / 1e9, 4),
                figure(stages["decode"]["kv_bytes"] / 1e6, 4),
            )
            for (model, resolution), stages in pairs.items()
        ),
    )


def _total(row: Row) -> tuple[Cell, Cell]:
    counted = row["counted_gflops"]
    return figure(counted, 7), figure(row["directional_gflops"] / counted, 3)


def components(rows: list[Row], stage: str) -> Table:
    """Counted GFLOPs of one model's stage: a row per component, a column per resolution."""
    found = {
        (row["component"], row["resolution"]): row["counted_gflops"]
        for row in rows
        if row["stage"] == stage
    }
    resolutions = list(dict.fromkeys(resolution for _, resolution in found))
    # What has weights but no arithmetic (norms) stands in the table of bytes alone.
    names = dict.fromkeys(name for (name, _), flops in found.items() if flops)
    what = "of one prefill" if stage == "prefill" else "of the first decode step"
    return build(
        f"Counted GFLOPs {what}, by component",
        ("Component", *resolutions),
        (
            (
                Cell(component_name(name)),
                *(
                    figure(found[name, resolution], 7)
                    if (name, resolution) in found
                    else absent("no such component")
                    for resolution in resolutions
                ),
            )
            for name in names
        ),
    )
