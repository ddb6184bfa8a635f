"""The planned size of a page, and the decoded one."""

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from mfuscope.core.errors import UserError
from mfuscope.pages.decoding import decode_page, page_size

FORMATS = [
    *("PNG exif", "PNG exif behind", "PNG xmp", "PNG xmp behind", "PNG profile", "PNG profile zip"),
    *("JPEG exif", "JPEG xmp", "WEBP exif", "WEBP xmp"),
    *("TIFF exif", "TIFF exif zip", "TIFF xmp", "TIFF both"),
]


def save_turned(folder: Path, kind: str, size: tuple[int, int], code: int, xmp: int = 0) -> Path:
    """An image with an orientation; `kind` is a format, what holds it, and how that is stored."""
    form, carrier, *rest = [*kind.split(), ""]
    path = folder / f"page.{form.lower()}"
    exif = Image.Exif()
    exif[0x0112] = code
    text = f'<rdf:Description tiff:Orientation="{xmp or code}"/>'
    options: dict[str, Any] = {}
    if form == "PNG":
        chunks = PngImagePlugin.PngInfo()
        behind, data = "behind" in rest, exif.tobytes().removeprefix(b"Exif\0\0")
        if carrier == "exif" and not behind:
            options["exif"] = exif
        elif carrier == "xmp":
            content = b"XML:com.adobe.xmp\0\0\0\0\0" + text.encode()
            chunks.add(b"iTXt", content, after_idat=behind)
        elif carrier == "profile":
            profile = f"\nexif\n{len(data):8}\n{data.hex()}\n"
            chunks.add_text("Raw profile type exif", profile, zip="zip" in rest)
        options["pnginfo"] = chunks
    elif form == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        if carrier in ("exif", "both"):
            tags[0x0112] = code
        if carrier in ("xmp", "both"):
            tags[700] = text.encode()
        options = {"tiffinfo": tags, "compression": "tiff_adobe_deflate" if "zip" in rest else None}
    else:
        options[carrier] = exif if carrier == "exif" else text.encode()
    Image.new("RGB", size, "white").save(path, **options)
    if kind == "PNG exif behind":  # the standard allows it, and PIL does not write it
        chunk = b"eXIf" + data
        whole = struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        content = path.read_bytes()
        path.write_bytes(content[:-12] + whole + content[-12:])
    return path


def sizes(path: Path) -> set[tuple[int, int]]:
    """The planned size, that of the decoded image, and the recorded one: one size, mostly."""
    decoded = decode_page(path, 150)
    return {
        page_size(path, 150),
        decoded.image.size,
        (decoded.facts.width, decoded.facts.height),
    }


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("code", range(1, 9))
def test_the_rotation_is_found_in_every_place(kind: str, code: int, tmp_path: Path) -> None:
    path = save_turned(tmp_path, kind, (30, 20), code)
    assert sizes(path) == {(20, 30) if code > 4 else (30, 20)}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(FORMATS),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    code=st.integers(1, 8),
    xmp=st.integers(0, 9),
)
def test_the_planned_size_is_the_decoded_size(
    kind: str, size: tuple[int, int], code: int, xmp: int, tmp_path: Path
) -> None:
    assert len(sizes(save_turned(tmp_path, kind, size, code, xmp))) == 1


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if "behind" not in kind])
def test_the_header_gives_the_size_without_decoding(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(image: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    paths = [save_turned(tmp_path, kind, (30, 20), 6), tmp_path / "plain.png"]
    Image.new("RGB", (20, 30)).save(paths[1])
    # Text without an orientation is no reason to decode, not even behind the pixels.
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"tEXt", b"Comment\0Raw profile type exif", after_idat=True)
    Image.new("RGB", (20, 30)).save(tmp_path / "text.png", pnginfo=chunks)
    for module in (PngImagePlugin.PngImageFile, ImageFile.ImageFile):
        monkeypatch.setattr(module, "load", load)
    assert {page_size(path, 150) for path in [*paths, tmp_path / "text.png"]} == {(20, 30)}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("xmp", 'tiff:Orientation="6"'), ("exif", "no exif"), ("Raw profile type exif", "\n\n\nno")],
)
def test_invalid_metadata_count_as_upright(keyword: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(keyword, value)
    Image.new("RGB", (30, 20)).save(path, pnginfo=chunks)
    assert sizes(path) == {(30, 20)}


def test_multi_picture_jpegs_of_phones_are_pages(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "page.jpg"
    others = [Image.new("RGB", (8, 8))]
    Image.new("RGB", (30, 20)).save(
        path, format="MPO", save_all=True, append_images=others, exif=exif
    )
    with Image.open(path) as image:
        assert image.format == "MPO"
    assert sizes(path) == {(20, 30)}


def test_a_suffix_may_name_another_format(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "page.png", format="BMP")
    assert sizes(tmp_path / "page.png") == {(30, 20)}


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 20\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("look", [page_size, decode_page])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (EPS, "its content is no image of a known kind"),
        (b"P5 30 20 255\n" + bytes(600), "its content is no image of a known kind"),
        (b"text", "its content is no image of a known kind"),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"", "it is empty"),
    ],
)
def test_other_content_is_refused_under_any_name(
    look: Any, content: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"cannot read '.*page\.png' \({problem}.* Remedy: "):
        look(path, 150)
