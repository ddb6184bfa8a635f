"""The pages that the setting `images` names: finding them and giving each an id."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mfuscope.core.errors import Findings, UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp")

# Names that are safe as they are: in file systems, in wildcards, in shells and in URLs.
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

# Snakemake expands `{word}` and `<word>` in every path, and offers no way to quote them.
_PLACEHOLDER = re.compile(r"<[a-z][a-z0-9_]*>|\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class PageFile:
    """One page.

    Attributes:
        id: names the page in results; safe in file names and wildcards.
        path: as seen from the working directory.
        relative: the path within the folder that the setting `images` names.
    """

    id: str
    path: Path
    relative: str

    @property
    def folder(self) -> Path:
        """The folder that the setting `images` names, or that holds the file which it names."""
        return self.path.parents[len(PurePosixPath(self.relative).parts) - 1]


@dataclass(frozen=True, slots=True)
class UnusablePage:
    """A page, or a folder that may hold pages, that cannot be measured, and why."""

    id: str
    path: Path
    error: UserError


def find_pages(*images: Path) -> tuple[dict[str, PageFile], list[UnusablePage]]:
    """Find all pages that the setting `images` names: files, and folders with their sub-folders.

    Paths are as seen from the working directory. Folders that cannot be read are unusable, as
    they may hold pages, and so are paths that the workflow engine or UTF-8 cannot express. A page
    that is named twice is found once.

    Returns:
        Pages by id, in the order of `images` and sorted by path within a folder, and what is
        unusable.

    Raises:
        UserErrors: every path that does not exist, cannot be accessed, or holds no image, and pages
            of two folders that would have the same id.
    """
    findings = Findings()
    pages: dict[Path, PageFile] = {}
    unusable: dict[Path, UnusablePage] = {}
    for named in images:
        with findings.collect():
            found, unreadable = _list(_from_here(named))
            unusable |= {one.path: one for one in unreadable}
            for page in found:
                if error := _path_error(str(page.path)):
                    unusable[page.path] = UnusablePage(page.id, page.path, error)
                else:
                    pages.setdefault(page.path, page)
    by_id: dict[str, PageFile] = {}
    twins = [page for page in pages.values() if by_id.setdefault(page.id, page) is not page]
    if twins:
        first, second = by_id[twins[0].id].path, twins[0].path
        more = f", and so would {len(twins) - 1} more" if twins[1:] else ""
        findings.add(
            UserError(
                f"images: {str(first)!r} and {str(second)!r} would have the same id{more}",
                "name the folder above both, or rename one",
            )
        )
    findings.raise_any()
    return by_id, list(unusable.values())


def page_id(relative: str) -> str:
    """A file-system- and wildcard-safe id that depends on the page's own relative path alone.

    A plain file name is its own id. Anything else (sub-folders, spaces, other scripts) becomes a
    readable slug and eight hex digits of its path's SHA-256, joined by ``~``, which no plain name
    contains.
    """
    if _SAFE_ID.fullmatch(relative) and ".." not in relative:
        return relative
    path = PurePosixPath(relative)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", str(path.with_suffix(""))).strip("-")[:60] or "page"
    digest = hashlib.sha256(os.fsencode(relative)).hexdigest()[:8]
    return f"{slug}~{digest}{path.suffix.lower()}"


def _from_here(path: Path) -> Path:
    """A path as seen from the working directory where it lies within, links resolved.

    Another spelling of the same folder must not look like other pages.

    Raises:
        UserError: the path cannot be accessed.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # its resolved path may exist; `_list` reports it if not
    except OSError as error:
        raise UserError(
            f"images: cannot look at {str(path)!r} ({error.strerror})",
            "correct the path in `images` (or DSOCR_IMAGE), or give yourself access to it",
        ) from error
    # A single page keeps its own name, also where it is a link: the name is its id.
    true = path.parent.resolve() / path.name if path.is_file() else path.resolve()
    here = Path.cwd()
    return true.relative_to(here) if true.is_relative_to(here) else true


def _list(images: Path) -> tuple[list[PageFile], list[UnusablePage]]:
    if images.is_file():
        if images.suffix.lower() not in SUFFIXES:
            raise UserError(
                f"images: {str(images)!r} is no image file by its name",
                f"name a file ending in {', '.join(SUFFIXES)}, or a folder of such files",
            )
        return [PageFile(page_id(images.name), images, images.name)], []
    if not images.is_dir():
        problem = "is neither a file nor a folder" if images.exists() else "does not exist"
        raise UserError(
            f"images: {str(images)!r} {problem}",
            "set `images` (or DSOCR_IMAGE) to an image file or to a folder of images",
        )
    relatives, unreadable = _walk(images)
    if not relatives and not unreadable:
        raise UserError(
            f"images: the folder {str(images)!r} holds no image",
            f"put files ending in {', '.join(SUFFIXES)} into it, or set `images` to another folder",
        )
    pages = [PageFile(page_id(name), images / name, name) for name in sorted(relatives)]
    return pages, unreadable


def _walk(root: Path) -> tuple[list[str], list[UnusablePage]]:
    """Relative paths of a folder's pages, and its folders that cannot be read.

    A folder that is also linked is entered at its own place, and other links in their order: ids
    depend neither on the order in which a file system lists names nor on links that come later.
    """
    relatives: list[str] = []
    unreadable: list[UnusablePage] = []
    seen: set[tuple[int, int]] = set()

    def report(error: OSError) -> None:
        # os.walk would silently leave the folder out, and its pages with it.
        folder = Path(error.filename)
        problem = f"images: cannot read the folder {str(folder)!r} ({error.strerror or error})"
        remedy = "give yourself read permission for it, move it away, or set `on_bad_image: skip`"
        name = page_id(folder.relative_to(root).as_posix())
        unreadable.append(UnusablePage(name, folder, UserError(problem, remedy)))

    entries = [root]
    while entries:
        linked = []
        for name, subfolders, files in os.walk(entries.pop(0), onerror=report):
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
    return relatives, unreadable


def _path_error(path: str) -> UserError | None:
    """The error to report for a path that the workflow cannot use."""
    if not _is_unicode(path):
        problem = f"images: the path {path!r} is no valid UTF-8, and results could not name it"
    elif placeholder := _PLACEHOLDER.search(path):
        problem = (
            f"images: the path {path!r} holds {placeholder[0]!r}, which the workflow engine "
            "would replace"
        )
    else:
        return None
    return UserError(problem, "rename the file or folder, or set `on_bad_image: skip`")


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
