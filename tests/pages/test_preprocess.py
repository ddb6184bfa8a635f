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

from mfuscope.models.geometry import MODES, Tiling, image_tokens, page_geometry
from mfuscope.models.views import make_views
from mfuscope.pages.images import decode_page, image_size
from mfuscope.pages.preprocess import read_page

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
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


def patches() -> tuple[Image.Image, list[tuple[int, int, int]]]:
    """Six patches of 16 x 16 pixels, whose borders are those of a JPEG's blocks; their colours."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)]
    image = Image.new("RGB", (96, 16))
    for index, colour in enumerate(colours):
        image.paste(colour, (16 * index, 0, 16 * index + 16, 16))
    return image, colours


def grey(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """ITU-R 601's luma, as PIL and JPEG have it."""
    red, green, blue = colour
    return (round(0.299 * red + 0.587 * green + 0.114 * blue),) * 3


@pytest.mark.parametrize(
    ("mode", "name", "tolerance"),
    [
        *(("1", "page.png", 0), ("L", "page.png", 1), ("P", "page.png", 0)),
        *(("RGBA", "page.png", 0), ("I;16", "page.png", 1)),
        *(("CMYK", "page.tif", 0), ("CMYK", "page.jpg", 3), ("L", "page.jpg", 3)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(
    mode: str, name: str, tolerance: int, tmp_path: Path
) -> None:
    image, colours = patches()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "1":
        image = image.convert("1", dither=Image.Dither.NONE)
    elif mode == "P":
        image = image.quantize(16)
    else:
        image = image.convert(mode)
    path = tmp_path / name
    image.save(path, quality=95)  # to formats without it, nothing
    with Image.open(path) as saved:
        assert saved.mode == mode
        if name == "page.jpg" and mode == "CMYK":  # Adobe's: its values are stored inverted
            assert "adobe" in saved.info
    page = read_page(path)
    assert (page.mode, page.size) == ("RGB", (96, 16))
    expected = colours
    if mode in ("L", "I;16", "1"):
        expected = [grey(colour) for colour in colours]
    if mode == "1":
        expected = [(255,) * 3 if value >= 128 else (0,) * 3 for value, *_ in expected]
    pixels = np.asarray(page).astype(int).reshape(16, 6, 16, 3)
    assert np.abs(pixels - np.array(expected)[None, :, None]).max() <= tolerance


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["page.png", "page.jpg", "page.tif", "page.webp", "page.bmp"])
def test_a_page_may_be_one_pixel(mode: str, name: str, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "white").save(tmp_path / name)
    page = decode_page(tmp_path / name)
    assert page.size == image_size(tmp_path / name) == (1, 1)
    geometry = page_geometry(*page.size, mode, Tiling())
    assert (geometry.tiles, image_tokens(geometry) > 0) == (0, True)
    views = make_views(page, geometry)
    assert views.tiles is None
    assert views.base.shape == (1, 3, geometry.base_size, geometry.base_size)
    np.testing.assert_array_equal(views.base, np.ones_like(views.base))  # white, all of it


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
