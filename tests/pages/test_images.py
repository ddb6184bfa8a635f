"""Listing, naming and looking at pages."""

import os
import re
import string
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutated_images import mutated
from permissions import run_obeying
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from mfuscope.core.errors import UserError
from mfuscope.pages.images import (
    category_of,
    check_decodes,
    image_id,
    image_size,
    inspect_pages,
    list_images,
    page_sha256,
    read_categories,
)
from mfuscope.pages.preprocess import read_page

FORMATS = [
    *("PNG exif", "PNG exif behind", "PNG xmp", "PNG xmp behind", "PNG profile", "PNG profile zip"),
    *("JPEG exif", "JPEG xmp", "WEBP exif", "WEBP xmp"),
    *("TIFF exif", "TIFF exif zip", "TIFF xmp", "TIFF both"),
]
NAMES = st.text(min_size=1, max_size=60).filter(lambda s: "\0" not in s and max(s) < "\ud800")


def save(path: Path, size: tuple[int, int] = (30, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "white").save(path)
    return path


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


@given(st.sets(NAMES.map(lambda name: name + ".png"), max_size=20))
def test_ids_are_safe_and_distinct(relatives: set[str]) -> None:
    ids = {image_id(relative) for relative in relatives}
    assert len(ids) == len(relatives)
    safe = set(string.ascii_letters + string.digits + "_.-~")
    for one in ids:
        assert set(one) <= safe
        assert one[0] in string.ascii_letters + string.digits
        assert len(one) <= 100
        assert ".." not in one


def test_plain_names_are_their_own_ids() -> None:
    assert image_id("scan-01_a.png") == "scan-01_a.png"
    assert image_id("a b.png") == f"a-b~{image_id('a b.png')[4:12]}.png"
    assert image_id("A.png") != image_id("a.png")
    assert image_id("sub/a.png") not in (image_id("a.png"), image_id("sub-a.png"))


def test_folders_are_searched_recursively(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "sub/deep/c.webp", "sub/d.tif", "e.bmp", "f.jpeg"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".cache" / "x.png")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    found = [image.relative for image in list_images(tmp_path).pages]
    assert found == ["a.jpg", "b.PNG", "e.bmp", "f.jpeg", "sub/d.tif", "sub/deep/c.webp"]


@pytest.mark.parametrize("link", ["a", "z", "sub/link"])
def test_a_link_to_a_folder_changes_no_id(tmp_path: Path, link: str) -> None:
    """Nor does the order in which the file system lists names."""
    save(tmp_path / "sub" / "deep" / "x.png")
    save(tmp_path / "m" / "b.png")
    before = [page.id for page in list_images(tmp_path).pages]
    (tmp_path / link).symlink_to(tmp_path / "m")
    (tmp_path / "0").symlink_to(tmp_path / "sub")
    assert [page.id for page in list_images(tmp_path).pages] == before


LOOK = """
import sys
from pathlib import Path
from mfuscope.errors import UserError
from mfuscope.images import check_decodes, image_size, list_images, page_sha256
listing = list_images(Path(sys.argv[1]))
for unusable in listing.unusable:
    print(unusable.error)
for page in listing.pages:
    for look in (image_size, check_decodes, page_sha256):
        try:
            look(page.path)
        except UserError as error:
            print(error)
"""


def test_folders_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    locked = save(tmp_path / "locked" / "b.png").parent
    locked.chmod(0)
    try:
        (line,) = run_obeying(LOOK, str(tmp_path)).splitlines()
    finally:
        locked.chmod(0o700)  # else the folder stays for ever
    assert re.search(r"cannot read the folder '.*locked' \(Permission denied\)\. Remedy: ", line)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "locked.png").chmod(0)
    told = run_obeying(LOOK, str(tmp_path)).splitlines()
    assert len(told) == 3  # by each of the ways to look at it
    for line in told:
        assert re.search(r"cannot read '.*locked\.png' \(Permission denied\)\. Remedy: ", line)
        assert "give yourself access to it" in line


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    assert [page.path for page in list_images(tmp_path).pages] == [loop]
    for look in (image_size, check_decodes, page_sha256):
        with pytest.raises(UserError, match=r"loop\.png' \(Too many levels of symbolic links\)"):
            look(loop)


STARVE = """
import resource
import sys
from pathlib import Path
from mfuscope.errors import UserError
from mfuscope.images import check_decodes
resource.setrlimit(resource.RLIMIT_DATA, (500 << 20,) * 2)
try:
    check_decodes(Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("damaged", [True, False])
def test_pages_that_the_memory_does_not_hold_are_told(damaged: bool, tmp_path: Path) -> None:
    """One that lies about a length, and one that is as large as it says."""
    path = tmp_path / "page.png"
    if damaged:
        path.write_bytes(mutated(2622)[1])
    else:
        Image.new("1", (11_000, 11_000)).save(path)
    command = [sys.executable, "-c", STARVE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert re.search(r"page\.png' \(it takes more memory than there is: .* Remedy: ", line)


def test_ids_do_not_depend_on_other_pages(tmp_path: Path) -> None:
    save(tmp_path / "a b.png")
    before = list_images(tmp_path).pages[0].id
    save(tmp_path / "a-b.png")
    assert before in [image.id for image in list_images(tmp_path).pages]


def test_one_file_is_a_listing(tmp_path: Path) -> None:
    path = save(tmp_path / "page.png")
    assert [image.path for image in list_images(path).pages] == [path]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("missing", "does not exist"), ("empty", "holds no image"), ("notes.txt", "no image file")],
)
def test_nothing_to_list_is_said(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match=problem):
        list_images(tmp_path / name)


def test_sizes_have_the_rotation_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert image_size(tmp_path / "turned.jpg") == (20, 30)
    assert image_size(save(tmp_path / "plain.png")) == (30, 20)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("code", range(1, 9))
def test_the_rotation_is_found_wherever_it_stands(kind: str, code: int, tmp_path: Path) -> None:
    path = save_turned(tmp_path, kind, (30, 20), code)
    assert image_size(path) == read_page(path).size == ((20, 30) if code > 4 else (30, 20))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(FORMATS),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    code=st.integers(1, 8),
    xmp=st.integers(0, 9),
)
def test_the_size_planned_is_the_size_measured(
    kind: str, size: tuple[int, int], code: int, xmp: int, tmp_path: Path
) -> None:
    path = save_turned(tmp_path, kind, size, code, xmp)
    assert image_size(path) == read_page(path).size


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if "behind" not in kind])
def test_sizes_are_told_without_decoding(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(image: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    paths = [save_turned(tmp_path, kind, (30, 20), 6), save(tmp_path / "plain.png", (20, 30))]
    # Text that tells no orientation is no reason to look further, wherever it stands.
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"tEXt", b"Comment\0Raw profile type exif", after_idat=True)
    Image.new("RGB", (20, 30)).save(tmp_path / "text.png", pnginfo=chunks)
    for module in (PngImagePlugin.PngImageFile, ImageFile.ImageFile):
        monkeypatch.setattr(module, "load", load)
    assert [image_size(path) for path in [*paths, tmp_path / "text.png"]] == [(20, 30)] * 3


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("xmp", 'tiff:Orientation="6"'), ("exif", "no exif"), ("Raw profile type exif", "\n\n\nno")],
)
def test_broken_metadata_turns_nothing(keyword: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(keyword, value)
    Image.new("RGB", (30, 20)).save(path, pnginfo=chunks)
    assert image_size(path) == read_page(path).size == (30, 20)
    check_decodes(path)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 20\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("content", [EPS, b"P5 30 20 255\n" + bytes(600)])
def test_other_formats_are_refused_whatever_their_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match="no image of a known kind"):
        image_size(path)
    with pytest.raises(UserError, match="no image of a known kind"):
        check_decodes(path)


def test_a_suffix_may_name_another_format(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "page.png", format="BMP")
    assert image_size(tmp_path / "page.png") == (30, 20)


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
    assert image_size(path) == read_page(path).size == (20, 30)
    check_decodes(path)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_range_are_refused(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "page.tif"
    Image.new(mode, (30, 20), 70000).save(path)
    with pytest.raises(UserError, match=r"page\.tif' \(its pixels are"):
        check_decodes(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_images_are_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*page\.png"):
        image_size(path)


@pytest.mark.parametrize("name", ["page.png", "page.jpg"])
def test_truncation_is_found_by_decoding(name: str, tmp_path: Path) -> None:
    good, bad = save(tmp_path / f"good-{name}"), tmp_path / name
    noise = os.urandom(64 * 64 * 3)
    Image.frombytes("RGB", (64, 64), noise).save(bad)
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    assert image_size(bad) == (64, 64)  # the header alone tells nothing
    check_decodes(good)
    with pytest.raises(UserError, match=name):
        check_decodes(bad)


def test_inspection_adds_the_number_of_frames(tmp_path: Path) -> None:
    path = save(tmp_path / "page.png")
    page = {"image": "page.png", "path": str(path), "width": 30, "height": 20, "category": ""}
    (row,) = inspect_pages([page])
    assert list(row.items()) == [
        ("image", "page.png"),
        ("path", str(path)),
        ("width", 30),
        ("height", 20),
        ("frames", 1),
        ("category", ""),
    ]


@pytest.mark.parametrize("name", ["page.tif", "page.webp", "page.png", "page.jpg"])
def test_frames_are_counted_and_the_first_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    form = {"format": "MPO"} if name == "page.jpg" else {}
    others = [Image.new("RGB", (30, 20), colour) for colour in ("black", "red")]
    first = Image.new("RGB", (30, 20), "white")
    first.save(path, save_all=True, append_images=others, **form)
    (row,) = inspect_pages([{"path": str(path), "height": 20}])
    assert row["frames"] == 3
    assert read_page(path).getextrema() == ((255, 255),) * 3


def test_categories_come_from_the_manifest_or_the_folder(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "text_heavy" / "b.png")
    save(tmp_path / "c.png")
    (tmp_path / "samples.csv").write_text("file,category\na.png,image_rich\n")
    categories = read_categories(tmp_path)
    pages = list_images(tmp_path).pages
    found = {image.relative: category_of(image, categories) for image in pages}
    assert found == {"a.png": "image_rich", "c.png": "", "text_heavy/b.png": "text_heavy"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name,size\na.png,3\n",
        b"file,size\na.png,3\n",
        b"file,category\n\xff\xfe.png,mixed_layout\n",
        b"file,category\n" + b"x" * 200_000 + b",mixed_layout\n",  # beyond csv's field limit
    ],
)
def test_a_manifest_of_another_kind_is_ignored(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_bytes(content)
    assert read_categories(tmp_path) == {}


def test_manifests_from_spreadsheets_are_read(tmp_path: Path) -> None:
    text = "\ufefffile,category\na.png,mixed_layout\nb.png\n"
    (tmp_path / "samples.csv").write_text(text, encoding="utf-8")
    assert read_categories(tmp_path) == {"a.png": "mixed_layout", "b.png": ""}
