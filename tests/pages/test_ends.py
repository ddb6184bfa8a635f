"""Files that lost their end to zeros or a cut, and that PIL decodes without a word."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutated_images import originals
from PIL import Image

from mfuscope.core.errors import UserError
from mfuscope.pages.ends import check_end
from mfuscope.pages.images import check_decodes, image_size
from mfuscope.pages.preprocess import read_page

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
ZEROS = bytes(4096)


def noise() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    return Image.fromarray(values)


def white() -> Image.Image:
    return Image.new("RGB", (600, 800), "white")


def smooth() -> Image.Image:
    return noise().resize((600, 400))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def zeroed(content: bytes, end: int | None = None) -> bytes:
    """A file whose last quarter was never written, or what of that lies before `end`."""
    begin = len(content) * 3 // 4
    end = len(content) if end is None else end
    return content[:begin] + bytes(end - begin) + content[end:]


def zeroed_tiff(image: Image.Image, compression: str) -> bytes:
    """PIL has a TIFF's header behind the pixels; many a scanner has it in front."""
    content = saved(image, "TIFF", compression=compression)
    return zeroed(content, int.from_bytes(content[4:8], "little"))


CUT = {
    "JPEG": zeroed(saved(noise(), "JPEG")),
    "JPEG without its end": saved(white(), "JPEG")[:-2],
    "JPEG with an end in its metadata": zeroed(saved(noise(), "JPEG", comment=b"\xff\xd9")),
    "MPO": zeroed(saved(noise(), "MPO", save_all=True, append_images=[white()])),
    "WebP": zeroed(saved(noise(), "WEBP")),
    "WebP lossless": zeroed(saved(smooth(), "WEBP", lossless=True)),
    "PNG": zeroed(saved(white(), "PNG")),
    "PNG without its end": saved(noise(), "PNG")[:-12],
    "PNG with half an end": saved(noise(), "PNG")[:-2],
    "TIFF jpeg": zeroed_tiff(noise(), "jpeg"),
    "TIFF zstd": zeroed_tiff(noise(), "zstd"),
    "TIFF group4": zeroed_tiff(noise().convert("1"), "group4"),
}


@pytest.mark.parametrize("kind", CUT)
def test_what_decodes_without_its_end_is_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(CUT[kind])
    assert image_size(path) == read_page(path).size  # to PIL it is as any other
    with pytest.raises(UserError, match=r"page\.png' \(it is (cut short|damaged): "):
        check_decodes(path)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "JPEG"])
def test_what_cannot_be_noticed(kind: str, tmp_path: Path) -> None:
    """Black pixels are zeros, and a JPEG's end is there behind a hole."""
    path = tmp_path / "page.png"
    content = saved(noise(), kind)
    path.write_bytes(zeroed(content, len(content) - 100))
    check_decodes(path)


@pytest.mark.parametrize("at", [60, -14, -3])
def test_flipped_bits_of_a_png_are_told(at: int, tmp_path: Path) -> None:
    """In the pixels, in their checksum and in that of the end."""
    path = tmp_path / "page.png"
    content = bytearray(saved(noise(), "PNG", compress_level=0))
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"page\.png' \("):
        check_decodes(path)


def test_zeros_within_the_pixels_of_a_png_are_told(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    content = saved(white(), "PNG")
    path.write_bytes(zeroed(content, len(content) - 100))
    read_page(path)
    with pytest.raises(UserError, match="it is damaged: the checksum"):
        check_decodes(path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_what_follows_the_end_is_no_damage(form: str, tmp_path: Path) -> None:
    """Some cameras fill up the last block, others append films."""
    path = tmp_path / "page.png"
    for more in (ZEROS, b"ftyp" + ZEROS, b"\xff" * 700):
        path.write_bytes(saved(noise(), form) + more)
        check_decodes(path)


@pytest.mark.parametrize(
    ("page", "options"),
    [
        ("blank", {"quality": 100}),
        ("margin", {"lossless": True, "quality": 5}),
        ("sample", {"lossless": True, "quality": 5}),
    ],
)
def test_zeros_that_are_pixels_are_no_damage(
    page: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """A page's white margin may be thousands of zeros to WebP."""
    path = tmp_path / "page.webp"
    image = Image.new("RGB", (1000, 1500), "white")
    if page == "margin":
        image.paste(noise().resize((1000, 1000)), (0, 0))
    if page == "sample":
        image = read_page(SAMPLES / "text_ar_vocalised.png")
    image.save(path, method=0, **options)
    assert path.read_bytes().endswith(bytes(2048))
    check_decodes(path)


def test_black_pixels_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "page.tif"
    for compression in (None, "packbits", "tiff_lzw", "group4", "jpeg", "zstd"):
        black = Image.new("1" if compression == "group4" else "RGB", (600, 800))
        black.save(path, compression=compression)
        check_decodes(path)


@pytest.mark.parametrize(("name", "content"), originals(), ids=[name for name, _ in originals()])
def test_sound_files_have_their_end(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(content)
    check_end(path)


def test_tiles_of_a_tiff_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "page.tif"
    tile = saved(noise().convert("L").crop((0, 0, 64, 64)), "JPEG")
    tags = {256: 64, 257: 64, 258: 8, 259: 7, 262: 1, 277: 1, 322: 64, 323: 64}  # PIL writes strips
    tags |= {324: 8 + 2 + 12 * 10 + 4, 325: len(tile)}
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    path.write_bytes(header + entries + bytes(4) + tile)
    check_decodes(path)
    path.write_bytes(zeroed(path.read_bytes()))
    read_page(path)
    with pytest.raises(UserError, match="cut short"):
        check_decodes(path)
