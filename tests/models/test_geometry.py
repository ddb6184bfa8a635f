"""Geometry against transformers' own rules, and against DeepSeek-OCR's published figures."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import (
    get_optimal_tiled_canvas,
)
from transformers.models.deepseek_ocr2.processing_deepseek_ocr2 import DeepseekOcr2Processor
from transformers.models.unlimited_ocr.processing_unlimited_ocr import UnlimitedOcrProcessor

from mfuscope.models.geometry import (
    MODES,
    Geometry,
    Tiling,
    image_tokens,
    page_geometry,
    parse_resolution,
    query_image_tokens,
    tile_grid,
)

SIDES = st.integers(1, 20_000)
TILINGS = st.builds(
    Tiling,
    tile_size=st.sampled_from([384, 640, 768]),
    min_tiles=st.integers(1, 3),
    max_tiles=st.integers(4, 32),
)


@given(width=SIDES, height=SIDES, tiling=TILINGS)
@settings(max_examples=1000)
def test_tile_grid_is_transformers(width: int, height: int, tiling: Tiling) -> None:
    expected = get_optimal_tiled_canvas(
        (height, width), (tiling.tile_size,) * 2, tiling.min_tiles, tiling.max_tiles
    )
    assert tile_grid(width, height, tiling) == expected


@given(columns=st.integers(1, 9), rows=st.integers(1, 9), scale=st.integers(100, 700))
def test_tile_grid_at_exact_ratios(columns: int, rows: int, scale: int) -> None:
    """Whole-number ratios are where several grids tie."""
    width, height = columns * scale, rows * scale
    expected = get_optimal_tiled_canvas((height, width), (640, 640), 2, 9)
    assert tile_grid(width, height, Tiling()) == expected


@given(width=SIDES, height=SIDES, mode=st.sampled_from(MODES))
def test_geometry_survives_its_name(width: int, height: int, mode: str) -> None:
    geometry = page_geometry(width, height, mode, Tiling())
    again = parse_resolution(geometry.resolution)
    assert (again.base_size, again.columns, again.rows) == (
        geometry.base_size,
        geometry.columns,
        geometry.rows,
    )
    assert again.resolution == geometry.resolution
    assert geometry.tiles <= 9
    assert image_tokens(again) == image_tokens(geometry)


@pytest.mark.parametrize(
    ("size", "mode", "resolution", "tokens"),
    [
        ((600, 400), "tiny", "512", 73),
        ((600, 400), "small", "640", 111),
        ((600, 400), "base", "1024", 273),
        ((600, 400), "large", "1280", 421),
        ((640, 640), "gundam", "1024", 273),  # nothing to tile
        ((641, 400), "gundam", "1024+640x3x2", 893),
        ((1000, 1500), "gundam", "1024+640x2x3", 903),
        ((510, 4653), "gundam", "1024+640x1x9", 1263),
    ],
)
def test_resolutions_and_tokens(
    size: tuple[int, int], mode: str, resolution: str, tokens: int
) -> None:
    geometry = page_geometry(*size, mode, Tiling())
    assert geometry.resolution == resolution
    assert image_tokens(geometry) == tokens


GEOMETRIES = st.one_of(
    st.builds(Geometry, st.sampled_from([512, 640, 1024, 1280])),
    st.builds(
        Geometry, st.just(1024), st.sampled_from([640, 768]), st.integers(1, 4), st.integers(1, 4)
    ),
)


def _placeholder(geometry: Geometry) -> tuple[SimpleNamespace, dict[str, list[object]]]:
    side = geometry.base_size
    processor = SimpleNamespace(
        image_token="i",
        patch_size=16,
        downsample_ratio=4,
        image_processor=SimpleNamespace(
            size={"height": side, "width": side}, tile_size=geometry.tile_size or 640
        ),
    )
    grid: list[object] = [[geometry.columns, geometry.rows]]
    return processor, {"num_local_patches": [geometry.tiles], "patches_grid": grid}


@given(GEOMETRIES)
def test_image_tokens_are_transformers(geometry: Geometry) -> None:
    processor, inputs = _placeholder(geometry)
    text = UnlimitedOcrProcessor.replace_image_token(processor, inputs, 0)
    assert image_tokens(geometry) == len(text)


@given(GEOMETRIES.filter(lambda g: g.base_size == 1024 and g.tile_size in (0, 768)))
def test_query_tokens_are_transformers(geometry: Geometry) -> None:
    processor, inputs = _placeholder(geometry)
    text = DeepseekOcr2Processor.replace_image_token(processor, inputs, 0)
    assert query_image_tokens(geometry) == len(text)


@pytest.mark.parametrize("name", ["", "x", "1024+", "1024+640", "1024+640x2", "native-3x4"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a canonical resolution"):
        parse_resolution(name)


def test_impossible_pages_and_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="has no 0 x 10 pixels"):
        page_geometry(0, 10, "tiny", Tiling())
    with pytest.raises(ValueError, match="unknown resolution mode 'huge'"):
        page_geometry(10, 10, "huge", Tiling())
