"""Views against transformers' PIL processor, and against the steps of the published code."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import (
    DeepseekOcr2ImageProcessorPil,
)

from mfuscope.models.geometry import MODES, Tiling, image_tokens, page_geometry
from mfuscope.models.views import make_views
from mfuscope.pages.decoding import decode_page, page_size

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
PAGES = ["image_eu_map.png", "text_en_refcard_landscape.png", "mixed_de_tall_tutorial.png"]


def one_step() -> float:
    """The distance between neighbouring pixel values after normalisation."""
    return 2 / 255


@pytest.mark.parametrize("name", PAGES)
def test_gundam_is_transformers(name: str) -> None:
    page = decode_page(SAMPLES / name, 150).image
    views = make_views(page, page_geometry(*page.size, "gundam", Tiling()))
    processor = DeepseekOcr2ImageProcessorPil(tile_size=640, min_patches=2, max_patches=9)
    expected = processor(page, return_tensors="np")
    assert views.tiles is not None
    np.testing.assert_allclose(views.tiles, expected["pixel_values_local"], atol=1e-6)
    # transformers rounds the padding of an odd remainder down, the published code to even: the
    # content may sit one pixel beside.
    theirs = expected["pixel_values"][0]
    ours = views.base[0]
    assert ours.shape == theirs.shape
    shifts = [np.roll(theirs, (dy, dx), (1, 2)) for dy in (0, 1) for dx in (0, 1)]
    assert min(float(np.abs(ours - shifted).max()) for shifted in shifts) <= 1e-6


@pytest.mark.parametrize(("mode", "size"), [("tiny", 512), ("small", 640)])
def test_small_views_are_stretched(mode: str, size: int) -> None:
    page = decode_page(SAMPLES / PAGES[1], 150).image
    views = make_views(page, page_geometry(*page.size, mode, Tiling()))
    pixels = np.asarray(page.resize((size, size))).transpose(2, 0, 1)  # PIL's default: bicubic
    np.testing.assert_allclose(views.base[0], pixels / 127.5 - 1, atol=1e-6)
    assert views.tiles is None


@pytest.mark.parametrize(("mode", "size"), [("base", 1024), ("large", 1280)])
def test_large_views_are_padded(mode: str, size: int) -> None:
    page = decode_page(SAMPLES / PAGES[1], 150).image
    views = make_views(page, page_geometry(*page.size, mode, Tiling()))
    grey = tuple(int(255 * 0.5) for _ in range(3))
    pixels = np.asarray(ImageOps.pad(page, (size, size), color=grey)).transpose(2, 0, 1)
    np.testing.assert_allclose(views.base[0], pixels / 127.5 - 1, atol=1e-6)
    # Bars above and below a landscape page, mid grey to within half a step of zero.
    assert abs(float(views.base[0, 0, 0, 0])) <= one_step() / 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["page.png", "page.jpg", "page.tif", "page.webp", "page.bmp"])
def test_a_page_may_be_one_pixel(mode: str, name: str, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "white").save(tmp_path / name)
    page = decode_page(tmp_path / name, 150).image
    assert page.size == page_size(tmp_path / name, 150) == (1, 1)
    geometry = page_geometry(*page.size, mode, Tiling())
    assert (geometry.tiles, image_tokens(geometry) > 0) == (0, True)
    views = make_views(page, geometry)
    assert views.tiles is None
    assert views.base.shape == (1, 3, geometry.base_size, geometry.base_size)
    np.testing.assert_array_equal(views.base, np.ones_like(views.base))  # white, all of it
