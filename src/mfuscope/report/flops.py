"""The report's FLOPs: three models side by side, and the components of a prefill."""

from collections.abc import Mapping
from dataclasses import replace

from mfuscope.flops.components import COMPONENTS, LM_HEAD
from mfuscope.flops.directional import DEFAULT_CONTEXT
from mfuscope.report.cells import Cell, Table, absent, amount, build, figure, label
from mfuscope.report.data import Flops, ReportData
from mfuscope.report.formats import percent

_NAMES = {
    "vision": "vision encoder",
    "language_model": "language model",
    LM_HEAD: "LM head",
    "clip": "CLIP",
    "dense_mlp": "dense MLP",
    "vision_linear": "linear layers (SAM)",
    "windowed_attention": "windowed attention (SAM)",
    "global_attention": "global attention (SAM)",
    "relative_positions": "relative positions (SAM)",
    "convolutions": "convolutions (SAM)",
    "patch_embedding": "patch embedding (SAM)",
}
_HEADLINE = "counted"


def component_name(component: str) -> str:
    """A component's display name."""
    return _NAMES.get(component, component.replace("_", " "))


def models(data: ReportData) -> Table:
    """Totals of every FLOP model, and their differences from the count.

    Variants of which all these are the same share their rows; where all do, none is named.
    """
    no_steps = "no decode steps"
    groups = _by_work(data)
    differ = any(len(names) < len(data.variants) for names, _ in groups)

    def line(names: str, row: Flops, counted: Flops) -> tuple[Cell, ...]:
        context = DEFAULT_CONTEXT if row.flop_model == "directional" else row.context_tokens
        return (
            label(names),
            Cell(row.resolution),
            amount(str(row.prompt_tokens)),
            amount(str(row.image_tokens))
            if row.image_tokens is not None
            else absent("not known for this model"),
            Cell(row.flop_model),
            figure(row.total / 1e9, 6),
            _difference(row.total, counted.total),
            figure(context, 4, no_steps),
            figure(None if row.per_token is None else row.per_token / 1e9, 6, no_steps),
            _difference(row.per_token, counted.per_token),
        )

    return build(
        "GFLOPs of one prefill and of one decoded token, by FLOP model",
        (
            "Variants",
            "Resolution",
            "Prompt tokens",
            "Image tokens",
            "FLOP model",
            "Prefill",
            "Prefill against counted",
            "Mean context, tokens",
            "Token",
            "Token against counted",
        ),
        (
            line(
                ", ".join(names) if differ else "",
                row,
                next(one for one in rows if one.flop_model == _HEADLINE),
            )
            for names, rows in groups
            for row in rows
        ),
    )


def _by_work(data: ReportData) -> list[tuple[list[str], list[Flops]]]:
    """The rows of every variant and resolution; variants with equal rows together."""
    pairs: dict[tuple[str, str], list[Flops]] = {}
    for row in data.flops:
        pairs.setdefault((row.variant, row.resolution), []).append(row)
    found: list[tuple[list[str], list[Flops]]] = []
    for (variant, _), rows in pairs.items():
        same = [replace(row, variant="") for row in rows]
        for names, known in found:
            if [replace(row, variant="") for row in known] == same:
                names.append(variant)
                break
        else:
            found.append(([variant], rows))
    return found


def _difference(value: float | None, reference: float | None) -> Cell:
    if value is None or not reference:
        return absent("no decode steps")
    if value == reference:
        return amount("0")
    sign = "+" if value > reference else "−"
    return amount(sign + percent(abs(value / reference - 1)))


def components(data: ReportData) -> Table:
    """Counted GFLOPs of a prefill: a row per component, a column per resolution."""
    columns = _distinct(data)
    found = {name for row in columns.values() for name in row.components}
    order = [name for name in ("vision", *COMPONENTS, "language_model") if name in found]
    return build(
        "Counted GFLOPs of one prefill by component",
        ("Component", *columns),
        (
            (
                Cell(component_name(name)),
                *(
                    figure(
                        row.components[name] / 1e9 if name in row.components else None,
                        5,
                        "no such component",
                    )
                    for row in columns.values()
                ),
            )
            for name in [*order, *sorted(found - set(order))]
        ),
    )


def _distinct(data: ReportData) -> Mapping[str, Flops]:
    """Counted FLOPs by heading; variants that count the same share a column."""
    groups: dict[tuple[str, tuple[tuple[str, float], ...]], list[Flops]] = {}
    for row in data.flops:
        if row.flop_model == _HEADLINE:
            key = (row.resolution, tuple(sorted(row.components.items())))
            groups.setdefault(key, []).append(row)
    resolutions = [resolution for resolution, _ in groups]
    return {
        resolution
        if resolutions.count(resolution) == 1
        else f"{resolution} ({', '.join(row.variant for row in rows)})": rows[0]
        for (resolution, _), rows in groups.items()
    }


def agreement(data: ReportData) -> str:
    """Whether the closed form and the count agree, in a sentence; empty without a closed form."""
    closed = {(r.variant, r.resolution): r for r in data.flops if r.flop_model == "architecture"}
    counted = {(r.variant, r.resolution): r for r in data.flops if r.flop_model == _HEADLINE}
    if not closed:
        return ""
    off = [
        f"{variant} at {resolution}"
        for (variant, resolution), row in closed.items()
        if dict(row.components) != dict(counted[variant, resolution].components)
    ]
    if not off:
        return "The closed form equals the count in every component."
    return f"The closed form differs from the count: {', '.join(off)}."
