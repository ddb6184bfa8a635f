"""Finding pages and naming them."""

import os
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from permissions import run_obeying
from PIL import Image

from mfuscope.core.errors import UserErrors
from mfuscope.pages.discovery import SUFFIXES, find_pages, page_id

NAMES = st.text(min_size=1, max_size=60).filter(lambda s: "\0" not in s and max(s) < "\ud800")


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def found(images: Path) -> list[str]:
    return [page.relative for page in find_pages(images)[0].values()]


@given(st.sets(NAMES.map(lambda name: name + ".png"), max_size=20))
def test_ids_are_safe_and_distinct(relatives: set[str]) -> None:
    ids = {page_id(relative) for relative in relatives}
    assert len(ids) == len(relatives)
    safe = set(string.ascii_letters + string.digits + "_.-~")
    for one in ids:
        assert set(one) <= safe
        assert one[0] in string.ascii_letters + string.digits
        assert len(one) <= 100
        assert ".." not in one


def test_plain_names_are_their_own_ids() -> None:
    assert page_id("scan-01_a.png") == "scan-01_a.png"
    assert page_id("a b.png") == f"a-b~{page_id('a b.png')[4:12]}.png"
    assert page_id("A.png") != page_id("a.png")
    assert page_id("sub/a.png") not in (page_id("a.png"), page_id("sub-a.png"))


def test_folders_are_searched_recursively(tmp_path: Path) -> None:
    names = ["a.jpg", "b.PNG", "e.bmp", "f.jpeg", "sub/d.tif", "sub/deep/c.webp"]
    for name in names:
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".cache" / "x.png")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    assert found(tmp_path) == names


def test_every_suffix_is_the_name_of_a_format_that_pages_may_have() -> None:
    known = Image.registered_extensions()
    assert {known[suffix] for suffix in SUFFIXES} == {"PNG", "JPEG", "WEBP", "TIFF", "BMP"}


def test_pages_are_named_by_id_path_and_relative_path(tmp_path: Path) -> None:
    path = save(tmp_path / "sub" / "a b.png")
    ((key, page),) = find_pages(tmp_path)[0].items()
    assert key == page.id == page_id("sub/a b.png")
    assert (page.path, page.relative) == (path, "sub/a b.png")


@pytest.mark.parametrize("link", ["a", "z", "sub/link"])
def test_a_link_to_a_folder_changes_no_id(tmp_path: Path, link: str) -> None:
    """Nor does the order in which the file system lists names."""
    save(tmp_path / "sub" / "deep" / "x.png")
    save(tmp_path / "m" / "b.png")
    before = list(find_pages(tmp_path)[0])
    (tmp_path / link).symlink_to(tmp_path / "m")
    (tmp_path / "0").symlink_to(tmp_path / "sub")
    assert list(find_pages(tmp_path)[0]) == before


def test_ids_do_not_depend_on_other_pages(tmp_path: Path) -> None:
    save(tmp_path / "a b.png")
    (before,) = find_pages(tmp_path)[0]
    save(tmp_path / "a-b.png")
    assert before in find_pages(tmp_path)[0]


def test_a_page_may_be_named_by_itself(tmp_path: Path) -> None:
    path = save(tmp_path / "page.png")
    assert [page.path for page in find_pages(path)[0].values()] == [path]


def test_a_linked_page_keeps_its_own_name(tmp_path: Path) -> None:
    save(tmp_path / "true.png")
    (tmp_path / "link.png").symlink_to("true.png")
    assert list(find_pages(tmp_path / "link.png")[0]) == ["link.png"]


def test_every_spelling_of_a_folder_gives_the_same_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path.resolve() / "here"
    for name in ("pages/a.png", "pages/sub/b.png", "../elsewhere/c.png"):
        save(here / name)
    (here / "link").symlink_to("pages")
    monkeypatch.chdir(here)
    inside = [Path("pages/a.png"), Path("pages/sub/b.png")]
    for spelling in ("pages", "./pages/", "pages/../pages", here / "pages", "x/../pages", "link"):
        pages, _ = find_pages(Path(spelling))
        assert [page.path for page in pages.values()] == inside, spelling
    for spelling in ("../elsewhere", here.parent / "elsewhere"):
        (page,) = find_pages(Path(spelling))[0].values()
        assert page.path == here.parent / "elsewhere" / "c.png"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing", "does not exist"),
        ("empty", "holds no image"),
        ("notes.txt", "no image file"),
        ("pipe", "is neither a file nor a folder"),
    ],
)
def test_a_setting_that_names_no_page_is_reported(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserErrors, match=f"images: .*{problem}.* Remedy: "):
        find_pages(tmp_path / name)
    with pytest.raises(UserErrors) as caught:
        find_pages(tmp_path / name, save(tmp_path / "fine.png"), tmp_path / "nowhere")
    assert len(caught.value.errors) == 2


def test_pages_may_be_chosen(tmp_path: Path) -> None:
    """In the order that they are named in, each with the id that it has in its folder."""
    for name in ("a b.png", "c.png", "d.png", "more/e.png", "more/f.png"):
        save(tmp_path / name)
    folder, _ = find_pages(tmp_path)
    pages, _ = find_pages(tmp_path / "d.png", tmp_path / "a b.png", tmp_path / "more")
    assert list(pages) == ["d.png", page_id("a b.png"), "e.png", "f.png"]
    assert {key: pages[key] for key in list(pages)[:2]} == {
        key: folder[key] for key in list(pages)[:2]
    }


def test_a_page_that_is_named_twice_is_found_once(tmp_path: Path) -> None:
    path = save(tmp_path / "sub" / "a.png")
    for named in ((path, path), (path, tmp_path / "sub"), (tmp_path / "sub" / ".." / "sub", path)):
        assert list(find_pages(*named)[0]) == ["a.png"]
    # Its first name gives its id.
    assert list(find_pages(tmp_path, path)[0]) == [page_id("sub/a.png")]


def test_pages_of_one_id_are_refused_in_one_line(tmp_path: Path) -> None:
    for name in ("x/a.png", "y/a.png", "x/b.png", "y/b.png", "y/c.png"):
        save(tmp_path / name)
    with pytest.raises(UserErrors) as caught:
        find_pages(tmp_path / "x", tmp_path / "y")
    (error,) = caught.value.errors
    assert error.problem == (
        f"images: '{tmp_path}/x/a.png' and '{tmp_path}/y/a.png' would have the same id, and so "
        "would 1 more"
    )
    assert "the folder above both" in error.remedy
    assert len(find_pages(tmp_path)[0]) == 5


@pytest.mark.parametrize("name", ["{word}.png", "<word>.png", "{}/a.png"])
def test_a_path_that_the_workflow_engine_would_change_is_unusable(
    name: str, tmp_path: Path
) -> None:
    save(tmp_path / name)
    save(tmp_path / "fine.png")
    pages, (unusable,) = find_pages(tmp_path)
    assert list(pages) == ["fine.png"]
    assert (unusable.id, unusable.path) == (page_id(name), tmp_path / name)
    assert "which the workflow engine would replace" in unusable.error.problem
    assert unusable.error.remedy.startswith("rename the file or folder")


def test_a_path_that_is_no_utf8_is_unusable(tmp_path: Path) -> None:
    save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b.png")))
    save(tmp_path / "fine.png")
    pages, (unusable,) = find_pages(tmp_path)
    assert list(pages) == ["fine.png"]
    assert "is no valid UTF-8" in unusable.error.problem
    assert r"\udcff\x1b.png" in unusable.error.problem


FIND = """
import sys
from pathlib import Path
from mfuscope.pages.discovery import find_pages
pages, unusable = find_pages(Path(sys.argv[1]))
print(*pages)
for page in unusable:
    print(page.error)
"""


def test_folders_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    locked = save(tmp_path / "locked" / "b.png").parent
    locked.chmod(0)
    try:
        pages, line = run_obeying(FIND, str(tmp_path)).splitlines()
    finally:
        locked.chmod(0o700)  # else nobody could remove the folder
    assert pages == "a.png"
    assert re.search(r"cannot read the folder '.*locked' \(Permission denied\)\. Remedy: ", line)
