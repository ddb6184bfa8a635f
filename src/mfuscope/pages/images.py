"""Pages on disk: listing them, naming them, and looking at them before anything is measured."""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from mfuscope.core.errors import UserError
from mfuscope.pages.ends import check_end
from mfuscope.pages.headers import DAMAGE, TooManyPixelsError, frame_count, upright_size
from mfuscope.pages.preprocess import read_page

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
CATEGORIES = ("text_heavy", "mixed_layout", "image_rich")

# Names that are safe as they are: in file systems, in wildcards, in shells and in URLs.
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One page: its id, where it lies, and where it lies relative to the `images` setting."""

    id: str
    path: Path
    relative: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A page, or a folder that may hold pages, that nothing can be measured of, and why."""

    id: str
    path: Path
    error: UserError


@dataclass(frozen=True, slots=True)
class Listing:
    """What the `images` setting names."""

    pages: list[ImageFile]
    unusable: list[Unusable]


def image_id(relative: str) -> str:
    """A file-system- and wildcard-safe id that depends on the page's own relative path alone.

    A plain file name is its own id. Anything else (sub-folders, spaces, other scripts) becomes a
    readable slug and eight hex digits of its path's SHA-256, joined by ``~``, which no plain name
    holds.
    """
    if _SAFE_ID.fullmatch(relative) and ".." not in relative:
        return relative
    path = PurePosixPath(relative)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", str(path.with_suffix(""))).strip("-")[:60] or "page"
    digest = hashlib.sha256(os.fsencode(relative)).hexdigest()[:8]
    return f"{slug}~{digest}{path.suffix.lower()}"


def list_images(images: Path) -> Listing:
    """All pages that the `images` setting names, a file or a folder (recursive), sorted.

    Folders that cannot be read are unusable: they may hold pages.

    Raises:
        UserError: the path does not exist, or there is no image.
    """
    if images.is_file():
        if images.suffix.lower() not in SUFFIXES:
            raise UserError(
                f"images: {str(images)!r} is no image file by its name",
                f"name a file ending in {_suffix_list()}, or a folder of such files",
            )
        return Listing([ImageFile(image_id(images.name), images, images.name)], [])
    if not images.is_dir():
        there = "is neither a file nor a folder" if images.exists() else "does not exist"
        raise UserError(
            f"images: {str(images)!r} {there}",
            "set `images` (or DSOCR_IMAGE) to an image file or to a folder of images",
        )
    relatives, locked = _walk(images)
    found = [
        ImageFile(image_id(relative), images / relative, relative) for relative in sorted(relatives)
    ]
    if not found and not locked:
        raise UserError(
            f"images: the folder {str(images)!r} holds no image",
            f"put files ending in {_suffix_list()} into it, or set `images` to another folder",
        )
    return Listing(found, locked)


def _suffix_list() -> str:
    return ", ".join(SUFFIXES)


def _walk(root: Path) -> tuple[list[str], list[Unusable]]:
    """Pages by their paths within a folder, and its folders that cannot be read.

    A folder that is also linked is entered where it lies, and other links in their order: ids
    depend neither on the order in which a file system lists names nor on links that come later.
    """
    relatives: list[str] = []
    locked: list[Unusable] = []
    seen: set[tuple[int, int]] = set()

    def note(error: OSError) -> None:
        # os.walk would leave the folder out in silence, and its pages with it.
        folder = Path(error.filename)
        problem = f"images: cannot read the folder {str(folder)!r} ({error.strerror or error})"
        remedy = "give yourself read permission for it, move it away, or set `on_bad_image: skip`"
        name = image_id(folder.relative_to(root).as_posix())
        locked.append(Unusable(name, folder, UserError(problem, remedy)))

    entries = [root]
    while entries:
        linked = []
        for name, subfolders, files in os.walk(entries.pop(0), onerror=note):
            folder = Path(name)
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:  # behind a link
                subfolders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            linked += [folder / name for name in subfolders if (folder / name).is_symlink()]
            relatives += [
                (folder / name).relative_to(root).as_posix()
                for name in files
                if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
            ]
        entries += linked
    return relatives, locked


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as the model will see them (rotation applied), from the header.

    Always the size of `read_page`'s result, where that can decode the page.

    Raises:
        UserError: the file cannot be read or is no image.
    """
    try:
        return upright_size(path)
    except DAMAGE as error:
        raise unreadable(path, error) from error


def decode_page(path: Path) -> Image.Image:
    """The page as `read_page` gives it.

    Raises:
        UserError: the file cannot be decoded to its end, or lacks it, or its pixels have no
            defined range.
    """
    try:
        page = read_page(path)
        check_end(path)
    except DAMAGE as error:
        raise unreadable(path, error) from error
    return page


def check_decodes(path: Path) -> None:
    """Decode the whole page, as a truncated file shows itself only then, and count its frames.

    Raises:
        UserError: as `decode_page`, or the frames cannot be counted.
    """
    decode_page(path)
    try:
        frame_count(path)
    except DAMAGE as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: BaseException) -> UserError:
    """What is wrong with a page that cannot be measured, from what its reading raised."""
    reason = " ".join(str(error).split()) or type(error).__name__
    remedy = "replace the file by an intact image, move it away, or set `on_bad_image: skip`"
    if isinstance(error, TooManyPixelsError):
        remedy = "scale it down, raise max_image_megapixels, or set `on_bad_image: skip`"
    elif isinstance(error, UnidentifiedImageError):
        empty = path.is_file() and not path.stat().st_size
        reason = "it is empty" if empty else "its content is no image of a known kind"
    elif isinstance(error, MemoryError):
        reason = "it takes more memory than there is: it is damaged, or too large"
        remedy = "replace it by an intact image, scale it down, or set `on_bad_image: skip`"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
        remedy = "give yourself access to it, move it away, or set `on_bad_image: skip`"
    return UserError(f"images: cannot read {str(path)!r} ({reason})", remedy)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def page_sha256(path: Path) -> str:
    """Hex SHA-256 of a page's file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise unreadable(path, error) from error


def read_categories(images: Path) -> dict[str, str]:
    """Categories by file name from a ``samples.csv`` (columns file, category) beside the pages.

    A file of that name without those columns, or that cannot be read, is somebody's own and tells
    nothing: it is no reason to stop.
    """
    folder = images if images.is_dir() else images.parent
    manifest = folder / "samples.csv"
    if not manifest.is_file():
        return {}
    try:
        # utf-8-sig: spreadsheets write a byte order mark, which would spoil the first column.
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"file", "category"} <= set(rows.fieldnames or ()):
                return {}
            return {row["file"]: row["category"] or "" for row in rows}
    except (OSError, ValueError, csv.Error):
        return {}


def category_of(image: ImageFile, categories: dict[str, str]) -> str:
    """The page's category: from ``samples.csv``, else from a sub-folder's name, else empty."""
    if image.relative in categories:
        return categories[image.relative]
    folders = image.relative.split("/")[:-1]
    return next((name for name in folders if name in CATEGORIES), "")


def inspect_pages(pages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Decode every page: the rows of inputs.csv.

    Args:
        pages: the rows so far, with ``path`` and ``height``.

    Returns:
        The rows with ``frames`` after ``height``: the number of pictures in the file, of which
        `read_page` takes the first.

    Raises:
        UserError: a page cannot be decoded: it has changed since it was vetted.
    """
    rows = []
    for page in pages:
        check_decodes(Path(page["path"]))
        rows.append(_described(page))
    return rows


def _described(page: Mapping[str, Any]) -> dict[str, Any]:
    row = {}
    for column, value in page.items():
        row[column] = value
        if column == "height":
            row["frames"] = frame_count(Path(page["path"]))
    return row
