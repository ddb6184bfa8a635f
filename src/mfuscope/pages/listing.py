"""The pages of a plan: what the setting `images` names, as the workflow engine can take it."""

import re
from pathlib import Path

from mfuscope.core.errors import UserError
from mfuscope.pages.images import ImageFile, Unusable, list_images

# Snakemake expands `{word}` and `<word>` in every path, and offers no way to quote them.
_PLACEHOLDER = re.compile(r"<[a-z][a-z0-9_]*>|\{[^}]*\}")


def planned_images(images: Path) -> tuple[dict[str, ImageFile], list[Unusable]]:
    """Pages by id, in the order of the listing, and what cannot be used.

    Paths are as seen from the working directory.

    Raises:
        UserError: as `images.list_images`.
    """
    listing = list_images(_from_here(images))
    pages, unusable = {}, []
    for image in listing.pages:
        if error := _flaw(str(image.path)):
            unusable.append(Unusable(image.id, image.path, error))
        else:
            pages[image.id] = image
    return pages, unusable + listing.unusable


def _flaw(path: str) -> UserError | None:
    """Why a path cannot be used."""
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


def _from_here(path: Path) -> Path:
    """A path as seen from the working directory where it lies within, links resolved.

    Another spelling of the same folder must not look like other pages.

    Raises:
        UserError: nobody can tell whether it is there.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # listing it says so, if it is not there by its shorter name either
    except OSError as error:
        raise UserError(
            f"images: cannot look at {str(path)!r} ({error.strerror})",
            "correct the path in `images` (or DSOCR_IMAGE), or give yourself access to it",
        ) from error
    # A single page keeps its own name, also where it is a link: the name is its id.
    true = path.parent.resolve() / path.name if path.is_file() else path.resolve()
    here = Path.cwd()
    return true.relative_to(here) if true.is_relative_to(here) else true


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
