"""The FLOP budget: every component of chosen models at chosen resolutions, without a GPU.

Each row has the count on the meta device, the closed form and the directional formula.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mfuscope.flops import architecture, directional
from mfuscope.flops.components import ATTENTION, COMPONENTS, TOTAL
from mfuscope.flops.dims import Architecture, read_dims
from mfuscope.flops.meta import build_on_meta, count_prefill, count_steps
from mfuscope.flops.traffic import stage_weight_bytes
from mfuscope.models.geometry import (
    SINGLE_VIEW_SIZES,
    TILED_MODE,
    Geometry,
    Tiling,
    parse_resolution,
)
from mfuscope.models.inputs import DeepSeekInputs
from mfuscope.models.loader import model_class_and_config
from mfuscope.models.spec import ModelSpec

GUNDAM_GRID = (2, 3)  # columns, rows: what an upright page of ordinary proportions gets

Row = dict[str, Any]


def budget(specs: Iterable[ModelSpec], resolutions: Iterable[str], prompt: str) -> list[Row]:
    """The rows of flops.csv: model x resolution x stage x component, and the stage's total.

    Args:
        resolutions: modes (``gundam`` with 2 x 3 tiles) or canonical names.
        prompt: the instruction after the image.

    Returns:
        Rows with GFLOPs by FLOP model (None where the directional formulas have no such component)
        and bytes in bf16: weights that the stage reads, keys and values that it reads or writes.

    Raises:
        ValueError: an operator has no formula.
    """
    names = list(resolutions)
    rows: list[Row] = []
    for spec in specs:
        assert spec.tiling is not None, "planning refuses models without"
        model_class, config = model_class_and_config(spec, spec.path)
        model, dims = build_on_meta(model_class, config), read_dims(config)
        assert dims is not None, "every family with a tiling has dimensions"
        inputs = DeepSeekInputs(spec, spec.path, prompt, config)
        for name in names:
            geometry = geometry_of(name, spec.tiling)
            tokens, _ = inputs.token_counts(geometry)
            rows += _resolution_rows(spec.name, model, dims, geometry, tokens)
    return rows


def geometry_of(resolution: str, tiling: Tiling) -> Geometry:
    """The geometry of a mode or of a canonical name.

    Raises:
        ValueError: it is neither.
    """
    if resolution in SINGLE_VIEW_SIZES:
        return Geometry(SINGLE_VIEW_SIZES[resolution])
    if resolution == TILED_MODE:
        return Geometry(tiling.base_size, tiling.tile_size, *GUNDAM_GRID)
    return parse_resolution(resolution)


def _resolution_rows(
    name: str, model: Any, dims: Architecture, geometry: Geometry, tokens: int
) -> list[Row]:
    language = dims.language
    context = tokens + 1  # of the first decode step
    (step,) = count_steps(model, tokens, 1)
    prefill = count_prefill(model, geometry, tokens)
    if uncounted := prefill.uncounted | step.uncounted:
        raise ValueError(f"{name}: no FLOP formula for {', '.join(sorted(uncounted))}")
    stages: list[tuple[str, int, Mapping[str, Mapping[str, float]]]] = [
        (
            "prefill",
            tokens,
            {
                "counted": prefill.counts,
                "architecture": architecture.prefill_flops(dims, geometry, tokens),
                "directional": directional.prefill_flops(dims, geometry, tokens),
            },
        ),
        (
            "decode",
            context,
            {
                "counted": step.counts,
                "architecture": architecture.decode_flops(language, context, tokens),
                "directional": directional.decode_flops(language.widths),
            },
        ),
    ]
    rows = []
    for stage, attended, by_model in stages:
        at_once = tokens if stage == "prefill" else 1
        weights = stage_weight_bytes(model, at_once, prefill=stage == "prefill")
        assert weights is not None, "the experts of every family with a tiling are known"
        kv = architecture.kv_bytes(language, attended, tokens, model.dtype.itemsize)
        first = {
            "model": name,
            "resolution": geometry.resolution,
            "tiles": f"{geometry.columns}x{geometry.rows}" if geometry.tiles else "",
            "prompt_tokens": tokens,
            "stage": stage,
            "context_tokens": attended,
        }
        counted = by_model["counted"]
        shown = [c for c in COMPONENTS if counted.get(c) or weights.get(c)]
        for component in shown:
            flops = {model: table.get(component) for model, table in by_model.items()}
            rows.append(
                first
                | {"component": component}
                | _gflops(flops)
                | {
                    "weight_bytes": weights.get(component, 0),
                    "kv_bytes": kv if component == ATTENTION else 0,
                }
            )
        totals = {model: sum(table.values()) for model, table in by_model.items()}
        rows.append(
            first
            | {"component": TOTAL}
            | _gflops(totals)
            | {"weight_bytes": sum(weights.values()), "kv_bytes": kv}
        )
    return rows


def _gflops(flops: Mapping[str, float | None]) -> dict[str, float | None]:
    """Columns by FLOP model; a component that the directional formulas lack is None there."""
    return {
        "counted_gflops": (flops["counted"] or 0) / 1e9,
        "architecture_gflops": (flops["architecture"] or 0) / 1e9,
        "directional_gflops": None if flops["directional"] is None else flops["directional"] / 1e9,
    }
