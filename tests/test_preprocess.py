"""Pixels against transformers' PIL processor, and against the steps of the published code."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import (
    DeepseekOcr2ImageProcessorPil,
)

from mfuscope.geometry import Tiling, page_geometry
from mfuscope.preprocess import make_views, read_page

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
PAGES = ["image_eu_map.png", "text_en_refcard_landscape.png", "mixed_de_tall_tutorial.png"]


def one_step() -> float:
    """The distance between neighbouring pixel values after normalisation."""
    return 2 / 255


@pytest.mark.parametrize("name", PAGES)
def test_gundam_is_transformers(name: str) -> None:
    page = read_page(SAMPLES / name)
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
    page = read_page(SAMPLES / PAGES[1])
    views = make_views(page, page_geometry(*page.size, mode, Tiling()))
    pixels = np.asarray(page.resize((size, size))).transpose(2, 0, 1)  # PIL's default: bicubic
    np.testing.assert_allclose(views.base[0], pixels / 127.5 - 1, atol=1e-6)
    assert views.tiles is None


@pytest.mark.parametrize(("mode", "size"), [("base", 1024), ("large", 1280)])
def test_large_views_are_padded(mode: str, size: int) -> None:
    page = read_page(SAMPLES / PAGES[1])
    views = make_views(page, page_geometry(*page.size, mode, Tiling()))
    grey = tuple(int(255 * 0.5) for _ in range(3))
    pixels = np.asarray(ImageOps.pad(page, (size, size), color=grey)).transpose(2, 0, 1)
    np.testing.assert_allclose(views.base[0], pixels / 127.5 - 1, atol=1e-6)
    # Bars above and below a landscape page, mid grey to within half a step of zero.
    assert abs(float(views.base[0, 0, 0, 0])) <= one_step() / 2


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("page.tif" if mode == "CMYK" else "page.png")
    Image.new("L", (30, 20), 255).convert("I" if mode == "I;16" else mode).convert(mode).save(path)
    page = read_page(path)
    assert (page.mode, page.size) == ("RGB", (30, 20))


RAMP = np.arange(0, 0x10000, 16, dtype=np.uint16).reshape(64, 64)


def save_16_bit_colour(
    path: Path, values: np.ndarray[tuple[int, int], np.dtype[np.uint16]]
) -> None:
    """Grey values as a 16-bit RGB PNG, which PIL reads but does not write."""
    height, width = values.shape
    rows = np.repeat(values.astype(">u2"), 3, axis=1)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", pixels)]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in [*chunks, (b"IEND", b"")]
        )
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("page.png", "<u2"), ("page.tif", "<u2"), ("page.tif", ">u2"), ("page.tif", "<i4")],
)
def test_16_bit_grey_is_scaled(name: str, kind: str, tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(kind)).save(tmp_path / name)
    page = np.asarray(read_page(tmp_path / name))
    assert page.shape == (64, 64, 3)
    assert page.mean() == 127.5
    assert (page.min(), page.max()) == (0, 255)


def test_16_bit_grey_is_16_bit_colour(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    save_16_bit_colour(tmp_path / "colour.png", RAMP)
    grey, colour = (read_page(tmp_path / name) for name in ("grey.png", "colour.png"))
    np.testing.assert_array_equal(np.asarray(grey), np.asarray(colour))


def test_12_bit_grey_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "page.tif"
    Image.new("I;16", (30, 20), 0x7777).save(path)
    entry = struct.pack("<HHI", 258, 3, 1)  # BitsPerSample; the same bytes are 0x777 then
    content = path.read_bytes()
    path.write_bytes(content.replace(entry + struct.pack("<H", 16), entry + struct.pack("<H", 12)))
    assert path.read_bytes() != content
    assert np.asarray(read_page(path)).mean() == 0x77


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", -1), ("I", 0x10000)])
def test_pixels_without_a_range_are_refused(mode: str, value: float, tmp_path: Path) -> None:
    Image.new(mode, (30, 20), value).save(tmp_path / "page.tif")
    with pytest.raises(ValueError, match="its pixels are"):
        read_page(tmp_path / "page.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_dropped_as_the_published_loader_does(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("page.tif" if mode == "PA" else "page.png")
    Image.new("RGBA", (30, 20), (0, 0, 0, 0)).convert(mode).save(path)
    assert read_page(path).getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("name", ["page.png", "page.tif", "page.webp"])
def test_pages_are_turned_as_pil_turns_them(code: int, name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = code
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, lossless=True)
    with Image.open(tmp_path / name) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    np.testing.assert_array_equal(np.asarray(read_page(tmp_path / name)), np.asarray(expected))


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "page.jpg", exif=exif)
    assert read_page(tmp_path / "page.jpg").size == (20, 30)
