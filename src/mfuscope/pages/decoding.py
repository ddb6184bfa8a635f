"""From a page file to its pixels, its size and its digest.

Pillow reports a truncated PNG, JPEG, TIFF, WebP or BMP and wrong checksums of a PNG; it cannot
notice zeros or other damage within the pixels of the other formats where these still decode.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from mfuscope.core.errors import UserError
from mfuscope.pages.headers import (
    DAMAGE,
    TooManyPixelsError,
    frame_count,
    open_image,
    open_regular,
    orientation,
    upright_size,
)

# What sets an image upright, by EXIF's orientation code (as ImageOps.exif_transpose does it).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What is recorded of a page.

    Attributes:
        sha256: hex digest of the file's content.
        width: in pixels, upright.
        height: in pixels, upright.
        frames: number of pictures that the file holds; the first one is measured.
    """

    sha256: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True, slots=True)
class DecodedPage:
    """The pixels of a page, upright 8-bit RGB, and the facts of the content they come from."""

    image: Image.Image
    facts: PageFacts


def page_size(path: Path, max_megapixels: float) -> tuple[int, int]:
    """Width and height in pixels as `decode_page` gives them, from the header alone.

    Raises:
        UserError: the file cannot be read, is no image, or has too many pixels.
    """
    try:
        with open_regular(path) as file:
            return upright_size(file, max_megapixels)
    except DAMAGE as error:
        raise unreadable(path, error) from error


def digest_page(path: Path) -> str:
    """Hex SHA-256 of a page's file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def decode_page(path: Path, max_megapixels: float) -> DecodedPage:
    """Read a page once, and decode and digest what was read.

    Like the published model's own loader, this takes the first of several frames or pages and
    drops transparency with ``convert("RGB")``: the colours beneath it show, black as they may be.
    Composing onto white would look better and feed the model another input than it gets in use.

    Unlike that loader, this scales 16-bit greyscale to 8 bits. ``convert`` clips the values at 255,
    and nearly every pixel becomes white.

    Args:
        max_megapixels: the most pixels that the image may have, in millions.

    Raises:
        UserError: the file cannot be read or decoded, has too many pixels, or pixels whose values
            have no defined range (floats, integers beyond 16 bits).
    """
    try:
        with open_regular(path) as file:
            content = file.read()
        with open_image(io.BytesIO(content), max_megapixels) as image:
            image.load()  # before asking for the orientation: this turns a TIFF already
            turn = _TURNS.get(orientation(image))
            page = _rgb(image)
            frames = frame_count(image, io.BytesIO(content))
        with open_image(io.BytesIO(content), max_megapixels) as image:
            image.verify()  # compares checksums of a PNG that `load` passes over
    except DAMAGE as error:
        raise unreadable(path, error) from error
    upright = page if turn is None else page.transpose(turn)
    return DecodedPage(
        upright, PageFacts(hashlib.sha256(content).hexdigest(), *upright.size, frames)
    )


def unreadable(path: Path, error: BaseException) -> UserError:
    """The error to report for a page, made from the exception that reading it raised."""
    reason = " ".join(str(error).split()) or type(error).__name__
    remedy = "replace the file by a valid image, move it away, or set `on_bad_image: skip`"
    if isinstance(error, TooManyPixelsError):
        remedy = "scale it down, raise max_image_megapixels, or set `on_bad_image: skip`"
    elif isinstance(error, UnidentifiedImageError):
        empty = path.is_file() and not path.stat().st_size
        reason = "it is empty" if empty else "its content is no image of a known kind"
    elif isinstance(error, MemoryError):
        reason = "it takes more memory than there is: it is damaged, or too large"
        remedy = "replace it by a valid image, scale it down, or set `on_bad_image: skip`"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
        remedy = "give yourself access to it, move it away, or set `on_bad_image: skip`"
    return UserError(f"images: cannot read {str(path)!r} ({reason})", remedy)


def _rgb(image: ImageFile.ImageFile) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats, whose black and white are not defined")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image.convert("RGB")
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels are integers beyond 16 bits")
    # The high byte, as PIL itself keeps it of 16-bit colour: a grey page then gives the same pixels
    # whether it was saved as grey or as RGB. (`// 257` would reach 255 for 65535 alone.)
    return Image.fromarray((values >> (_bits(image) - 8)).astype(np.uint8)).convert("RGB")


def _bits(image: ImageFile.ImageFile) -> int:
    """Bits per pixel of greyscale beyond 8 bits: 16, or 12 where a TIFF says so."""
    tags = getattr(image, "tag_v2", {})
    return 12 if tags.get(ExifTags.Base.BitsPerSample) == (12,) else 16
