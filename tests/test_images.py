"""Listing, naming and looking at pages."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mfuscope.errors import UserError
from mfuscope.images import (
    category_of,
    check_readable,
    file_sha256,
    image_id,
    image_size,
    inspect_pages,
    known_pages,
    list_images,
    read_categories,
)
from mfuscope.preprocess import read_page

NAMES = st.text(min_size=1, max_size=60).filter(lambda s: "\0" not in s and max(s) < "\ud800")


def save(path: Path, size: tuple[int, int] = (30, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "white").save(path)
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
    found = [image.relative for image in list_images(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "e.bmp", "f.jpeg", "sub/d.tif", "sub/deep/c.webp"]


def test_ids_do_not_depend_on_other_pages(tmp_path: Path) -> None:
    save(tmp_path / "a b.png")
    before = list_images(tmp_path)[0].id
    save(tmp_path / "a-b.png")
    assert before in [image.id for image in list_images(tmp_path)]


def test_one_file_is_a_listing(tmp_path: Path) -> None:
    path = save(tmp_path / "page.png")
    assert [image.path for image in list_images(path)] == [path]


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


def test_the_rotation_of_a_png_is_found_wherever_it_stands(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    # Behind the pixels, where the standard allows it too.
    trailer = content.index(b"IEND") - 4
    moved = content[:start] + content[end:trailer] + content[start:end] + content[trailer:]
    for variant in (content, moved):
        path.write_bytes(variant)
        assert image_size(path) == read_page(path).size == (20, 30)


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
    with pytest.raises(UserError, match=name) as caught:
        check_readable([{"path": str(good)}, {"path": str(bad)}], known={})
    assert f"good-{name}" not in str(caught.value)


def test_pages_known_by_content_are_not_decoded_again(tmp_path: Path) -> None:
    bad = tmp_path / "page.png"
    bad.write_bytes(b"text")
    table = tmp_path / "inputs.csv"
    table.write_text(f"path,sha256\n{bad},{file_sha256(bad)}\n")
    check_readable([{"path": str(bad)}], known_pages(table))
    bad.write_bytes(b"other text")
    with pytest.raises(UserError, match="cannot read"):
        check_readable([{"path": str(bad)}], known_pages(table))
    assert known_pages(tmp_path / "none.csv") == {}


def test_inspection_adds_the_digest(tmp_path: Path) -> None:
    path = save(tmp_path / "page.png")
    (row,) = inspect_pages([{"image": "page.png", "path": str(path), "width": 30}])
    assert row == {
        "image": "page.png",
        "path": str(path),
        "sha256": file_sha256(path),
        "width": 30,
    }


def test_categories_come_from_the_manifest_or_the_folder(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "text_heavy" / "b.png")
    save(tmp_path / "c.png")
    (tmp_path / "samples.csv").write_text("file,category\na.png,image_rich\n")
    categories = read_categories(tmp_path)
    found = {image.relative: category_of(image, categories) for image in list_images(tmp_path)}
    assert found == {"a.png": "image_rich", "c.png": "", "text_heavy/b.png": "text_heavy"}
    (tmp_path / "samples.csv").write_text("name\na.png\n")
    with pytest.raises(UserError, match=r"samples\.csv"):
        read_categories(tmp_path)
