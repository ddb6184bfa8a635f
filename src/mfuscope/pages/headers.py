"""What an image file tells before its pixels are decoded: kind, orientation, size, frames.

Planning sizes thousands of pages from here, and `read_page` turns each page by the same
`orientation`: were there two rules, a page would be planned at one resolution and measured at
another.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile

# What `images.SUFFIXES` stand for, and no more: PIL goes by the content, and an EPS file named
# .png would start Ghostscript. Phone cameras' multi-picture files (MPO) come through "JPEG".
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")

# All that PIL is known to raise for damaged metadata; some of it comes straight from its parsers.
_SPOILT = (
    OSError,  # PIL's UnidentifiedImageError is one, and `TooManyPixelsError`
    EOFError,
    LookupError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)

# The same for a damaged file: one that lies about a length may have PIL ask for gigabytes. Metadata
# are another matter: were memory merely short, a page would pass for upright without a word.
DAMAGE = (*_SPOILT, MemoryError)

# The limit reaches jobs and workers through the environment: it changes no measurement.
_LIMIT_VARIABLE = "MFUSCOPE_MAX_IMAGE_MEGAPIXELS"
_DEFAULT_LIMIT = 150.0
Image.MAX_IMAGE_PIXELS = None  # PIL's own limit, which warns first; `open_image` has the setting's

_QUARTER_TURNS = (5, 6, 7, 8)
_UPRIGHT = 1

# Keywords of PNG text chunks that PIL takes an orientation from.
_PNG_KEYWORDS = (b"Raw profile type exif", b"XML:com.adobe.xmp", b"exif", b"xmp")
_PNG_TEXT = (b"iTXt", b"tEXt", b"zTXt")
_KEYWORD_BYTES = 80  # a keyword has 79 bytes at most, and a zero byte ends it


class TooManyPixelsError(OSError):
    """An image whose pixels would take more memory than somebody's file may."""


def limit_pixels(megapixels: float) -> None:
    """Set the most pixels that an image may have, for this process and those that it starts."""
    os.environ[_LIMIT_VARIABLE] = str(megapixels)


def open_image(path: Path) -> ImageFile.ImageFile:
    """Open an image file of a kind that pages may have; its pixels stay undecoded.

    Raises:
        OSError: the file cannot be read, or is of no such kind. Damage may show itself as any of
            `DAMAGE`.
        TooManyPixelsError: it has more than the limit (`limit_pixels`).
    """
    if not path.is_file() and path.exists():
        raise OSError("it is no regular file")  # a pipe would be waited for
    image = Image.open(path, formats=FORMATS)
    limit = float(os.environ.get(_LIMIT_VARIABLE, _DEFAULT_LIMIT))
    width, height = image.size
    if width * height > limit * 1e6:
        image.close()
        raise TooManyPixelsError(
            f"{width} x {height} pixels are {width * height / 1e6:.0f} megapixels, the limit "
            f"max_image_megapixels is {limit:g}"
        )
    return image


def orientation(image: ImageFile.ImageFile) -> int:
    """How an image lies: EXIF's code 1 (upright) to 8, from its EXIF data, else from its XMP.

    Metadata that cannot be parsed turns nothing. (The published DeepSeek-OCR loader falls back to
    the picture as it lies, too.)
    """
    try:
        # Not PngImageFile.getexif: it decodes the whole picture wherever there is no EXIF data.
        code = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except _SPOILT:
        return _UPRIGHT
    return code if isinstance(code, int) and 1 <= code <= 8 else _UPRIGHT


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels that `read_page` gives, from the header.

    Decodes the page in one case alone: a PNG with metadata behind its pixels.

    Raises:
        OSError: the file cannot be read or is no image; see `open_image`.
    """
    with open_image(path) as image:
        width, height = image.size
        if image.format == "PNG" and _png_has_late_metadata(path):
            image.load()  # only then does PIL read what follows the pixels
        tags = getattr(image, "tag_v2", None)
        if tags is not None:  # a TIFF's `size` is turned already by its tag, but not by its XMP
            width = tags[ExifTags.Base.ImageWidth]
            height = tags[ExifTags.Base.ImageLength]
        turned = orientation(image) in _QUARTER_TURNS
    return (height, width) if turned else (width, height)


def frame_count(path: Path) -> int:
    """Number of pictures in a file: pages of a TIFF, frames of an animation; mostly 1.

    Raises:
        OSError: the file cannot be read or is no image; see `open_image`.
    """
    with open_image(path) as image:
        return int(getattr(image, "n_frames", 1))


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk of a PNG up to IEND; the file stands at its content then."""
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4]), header[4:]
        end = file.tell() + length + 4
        yield kind, length
        if kind == b"IEND":
            return
        file.seek(end)


def _png_has_late_metadata(path: Path) -> bool:
    """Whether a chunk behind a PNG's pixels may tell an orientation; reads chunk headers only."""
    behind = False
    with path.open("rb") as file:
        for kind, _ in png_chunks(file):
            if kind == b"IDAT":
                behind = True
            elif behind and kind == b"eXIf":
                return True
            elif behind and kind in _PNG_TEXT:
                keyword, _, _ = file.read(_KEYWORD_BYTES).partition(b"\0")
                if keyword in _PNG_KEYWORDS:
                    return True
    return False
