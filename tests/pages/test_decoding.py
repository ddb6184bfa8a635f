"""Pixels, digests and frames of pages, and what is reported of files without them."""

import hashlib
import io
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutated_images import SIGNATURE, originals, png_chunk, repair_checksums
from permissions import run_obeying
from PIL import Image, ImageOps

from mfuscope.core.errors import UserError
from mfuscope.pages import decoding
from mfuscope.pages.decoding import decode_page, digest_page, page_size

LOOKS = [decode_page, page_size, lambda path, max_megapixels: digest_page(path)]
each_look = pytest.mark.parametrize("look", LOOKS, ids=["decode", "size", "digest"])


def pixels_of(path: Path) -> Image.Image:
    return decode_page(path, 150).image


def noise(size: tuple[int, int] = (64, 64)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(values)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


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
    page = pixels_of(path)
    assert (page.mode, page.size) == ("RGB", (96, 16))
    expected = colours
    if mode in ("L", "I;16", "1"):
        expected = [grey(colour) for colour in colours]
    if mode == "1":
        expected = [(255,) * 3 if value >= 128 else (0,) * 3 for value, *_ in expected]
    pixels = np.asarray(page).astype(int).reshape(16, 6, 16, 3)
    assert np.abs(pixels - np.array(expected)[None, :, None]).max() <= tolerance


RAMP = np.arange(0, 0x10000, 16, dtype=np.uint16).reshape(64, 64)


def save_16_bit_colour(
    path: Path, values: np.ndarray[tuple[int, int], np.dtype[np.uint16]]
) -> None:
    """Grey values as a 16-bit RGB PNG, which PIL reads but does not write."""
    height, width = values.shape
    rows = np.repeat(values.astype(">u2"), 3, axis=1)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", pixels)]
    path.write_bytes(SIGNATURE + b"".join(starmap(png_chunk, [*chunks, (b"IEND", b"")])))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("page.png", "<u2"), ("page.tif", "<u2"), ("page.tif", ">u2"), ("page.tif", "<i4")],
)
def test_16_bit_grey_is_scaled(name: str, kind: str, tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(kind)).save(tmp_path / name)
    page = np.asarray(pixels_of(tmp_path / name))
    assert page.shape == (64, 64, 3)
    assert page.mean() == 127.5
    assert (page.min(), page.max()) == (0, 255)


def test_16_bit_grey_is_16_bit_colour(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    save_16_bit_colour(tmp_path / "colour.png", RAMP)
    grey, colour = (pixels_of(tmp_path / name) for name in ("grey.png", "colour.png"))
    np.testing.assert_array_equal(np.asarray(grey), np.asarray(colour))


def test_12_bit_grey_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "page.tif"
    Image.new("I;16", (30, 20), 0x7777).save(path)
    entry = struct.pack("<HHI", 258, 3, 1)  # BitsPerSample; the same bytes are 0x777 then
    content = path.read_bytes()
    path.write_bytes(content.replace(entry + struct.pack("<H", 16), entry + struct.pack("<H", 12)))
    assert path.read_bytes() != content
    assert np.asarray(pixels_of(path)).mean() == 0x77


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", -1), ("I", 0x10000)])
def test_pixels_without_a_range_are_refused(mode: str, value: float, tmp_path: Path) -> None:
    Image.new(mode, (30, 20), value).save(tmp_path / "page.tif")
    with pytest.raises(UserError, match=r"page\.tif' \(its pixels are"):
        decode_page(tmp_path / "page.tif", 150)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_dropped_as_the_published_loader_does(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("page.tif" if mode == "PA" else "page.png")
    Image.new("RGBA", (30, 20), (0, 0, 0, 0)).convert(mode).save(path)
    assert pixels_of(path).getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("name", ["page.png", "page.tif", "page.webp"])
def test_pages_are_turned_as_pil_turns_them(code: int, name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = code
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, lossless=True)
    with Image.open(tmp_path / name) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    np.testing.assert_array_equal(np.asarray(pixels_of(tmp_path / name)), np.asarray(expected))


def test_a_page_is_read_once_and_its_digest_is_of_what_was_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "page.png", tmp_path / "other.png"
    Image.new("RGB", (30, 20), "red").save(path)
    Image.new("RGB", (40, 20), "blue").save(other)
    content = path.read_bytes()
    opened = []

    def open_before_it_changes(path: Path) -> io.BufferedReader:
        opened.append(path)
        file = path.open("rb")
        other.replace(path)
        return file

    monkeypatch.setattr(decoding, "open_regular", open_before_it_changes)
    page = decode_page(path, 150)
    assert opened == [path]
    assert page.facts.sha256 == hashlib.sha256(content).hexdigest()
    assert (page.facts.width, page.facts.height) == (30, 20)
    assert page.image.getpixel((0, 0)) == (255, 0, 0)


def test_both_digests_are_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "page.jpg"
    noise().save(path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert decode_page(path, 150).facts.sha256 == digest_page(path) == expected


@pytest.mark.filterwarnings("ignore")  # PIL warns of a TIFF before it gives up
@pytest.mark.parametrize(
    ("form", "options"),
    [
        *(("PNG", {}), ("BMP", {}), ("JPEG", {}), ("JPEG", {"progressive": True})),
        *(("WEBP", {}), ("WEBP", {"lossless": True}), ("TIFF", {})),
        *(("TIFF", {"compression": kind}) for kind in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_reported(
    form: str, options: dict[str, Any], share: float, tmp_path: Path
) -> None:
    content = saved(noise(), form, **options)
    path = tmp_path / "page.png"
    path.write_bytes(content)
    decode_page(path, 150)
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cannot read '.*page\.png' \(.*\)\. Remedy: "):
        decode_page(path, 150)


def test_a_truncated_jpeg_header_still_gives_the_size(tmp_path: Path) -> None:
    """So a page is decoded before its run is planned."""
    content = saved(noise(), "JPEG")
    path = tmp_path / "page.jpg"
    path.write_bytes(content[: len(content) // 2])
    assert page_size(path, 150) == (64, 64)


def test_a_png_that_lacks_its_end_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(saved(noise(), "PNG")[:-12])
    with pytest.raises(UserError, match="truncated PNG file"):
        decode_page(path, 150)


@pytest.mark.parametrize("at", [60, -14])
def test_wrong_checksums_of_a_png_are_reported(at: int, tmp_path: Path) -> None:
    """Of its pixels, and in the checksum itself."""
    path = tmp_path / "page.png"
    content = bytearray(saved(noise(), "PNG", compress_level=0))
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"page\.png' \(broken "):
        decode_page(path, 150)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_what_follows_the_end_is_no_damage(form: str, tmp_path: Path) -> None:
    """Some cameras fill up the last block, others append films."""
    path = tmp_path / "page.png"
    for more in (bytes(4096), b"ftyp" + bytes(4096), b"\xff" * 700):
        path.write_bytes(saved(noise(), form) + more)
        assert decode_page(path, 150).image.size == (64, 64)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize(
    ("name", "content"),
    [one for one in originals() if one[0] != "TIFF F"],  # its pixels have no range
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_valid_files_are_decoded(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(content)
    page = decode_page(path, 150)
    assert page.image.mode == "RGB"
    assert page.image.size == page_size(path, 150)


@pytest.mark.parametrize("name", ["page.tif", "page.webp", "page.png", "page.jpg"])
def test_frames_are_counted_and_the_first_is_decoded(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    form = {"format": "MPO"} if name == "page.jpg" else {}
    others = [Image.new("RGB", (30, 20), colour) for colour in ("black", "red")]
    first = Image.new("RGB", (30, 20), "white")
    first.save(path, save_all=True, append_images=others, **form)
    page = decode_page(path, 150)
    assert page.facts.frames == 3
    assert page.image.getextrema() == ((255, 255),) * 3


def animation(default_image: bool) -> bytes:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("black", "red", "green")]
    return saved(frames[0], "PNG", save_all=True, append_images=frames, default_image=default_image)


ANIMATIONS = {default: animation(default) for default in (True, False)}


@given(stated=st.integers(1, 0x7FFFFFFF), default_image=st.booleans())
def test_frames_of_a_png_are_counted_whatever_it_states(
    stated: int, default_image: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(ANIMATIONS[default_image])
    start = content.index(b"acTL") + 4
    (there,) = struct.unpack_from(">I", content, start)
    struct.pack_into(">I", content, start, stated)
    repair_checksums(content)
    path = tmp_path_factory.getbasetemp() / "animated.png"
    path.write_bytes(content)
    assert decode_page(path, 150).facts.frames == min(stated, there) + default_image


def test_a_still_png_has_one_frame(tmp_path: Path) -> None:
    noise().save(tmp_path / "page.png")
    assert decode_page(tmp_path / "page.png", 150).facts.frames == 1


@each_look
def test_files_that_cannot_be_read_are_named(look: Callable[..., object], tmp_path: Path) -> None:
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(UserError, match=r"loop\.png' \(Too many levels of symbolic links\)"):
        look(loop, 150)
    with pytest.raises(UserError, match=r"gone\.png' \(No such file or directory\)"):
        look(tmp_path / "gone.png", 150)


@each_look
def test_a_pipe_is_no_page(look: Callable[..., object], tmp_path: Path) -> None:
    """Opening it would block until something is written to it."""
    os.mkfifo(tmp_path / "page.png")
    with pytest.raises(UserError, match=r"page\.png' \(it is no regular file\)"):
        look(tmp_path / "page.png", 150)


@each_look
def test_a_device_is_no_page(look: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "page.png").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"page\.png' \(it is no regular file\)"):
        look(tmp_path / "page.png", 150)


LOOK = """
import sys
from pathlib import Path
from mfuscope.core.errors import UserError
from mfuscope.pages.decoding import decode_page, digest_page, page_size
path = Path(sys.argv[1])
for look in (decode_page, page_size):
    try:
        look(path, 150)
    except UserError as error:
        print(error)
try:
    digest_page(path)
except UserError as error:
    print(error)
"""


def test_files_without_permission_are_named(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    path.touch()
    path.chmod(0)
    lines = run_obeying(LOOK, str(path)).splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.search(r"cannot read '.*locked\.png' \(Permission denied\)\. Remedy: ", line)
        assert "give yourself access to it" in line


STARVE = """
import resource
import sys
from pathlib import Path
from mfuscope.core.errors import UserError
from mfuscope.pages.decoding import decode_page
resource.setrlimit(resource.RLIMIT_DATA, (500 << 20,) * 2)
try:
    decode_page(Path(sys.argv[1]), 150)
except UserError as error:
    print(error)
"""


def test_a_page_that_the_memory_does_not_hold_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    Image.new("1", (11_000, 11_000)).save(path)
    command = [sys.executable, "-c", STARVE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert re.search(r"page\.png' \(it takes more memory than there is: .* Remedy: ", line)
