"""What an image file states before its pixels are decoded: format, size, orientation, frames.

The planned size (`upright_size`) and the decoded page (`decoding.decode_page`) share one
`orientation`: with two rules, a page could be planned at one resolution and measured at another.
"""

import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile

# The formats behind `discovery.SUFFIXES`, and no more: PIL goes by the content, and an EPS file
# named .png would start Ghostscript. Multi-picture files of phone cameras (MPO) open as "JPEG".
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")

# Everything that PIL is known to raise for invalid metadata; its parsers raise some of it directly.
_INVALID_METADATA = (
    OSError,  # includes PIL's UnidentifiedImageError and `TooManyPixelsError`
    EOFError,
    LookupError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)

# The same for a damaged file, whose wrong lengths may make PIL ask for gigabytes. For metadata
# alone MemoryError is no sign of damage: it would turn a rotated page into an upright one.
DAMAGE = (*_INVALID_METADATA, MemoryError)

Image.MAX_IMAGE_PIXELS = None  # `check_pixels` replaces PIL's own limit, which warns first

_QUARTER_TURNS = (5, 6, 7, 8)
_UPRIGHT = 1

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Keywords of the PNG text chunks from which PIL takes an orientation.
_PNG_KEYWORDS = (b"Raw profile type exif", b"XML:com.adobe.xmp", b"exif", b"xmp")
_PNG_TEXT = (b"iTXt", b"tEXt", b"zTXt")
_KEYWORD_BYTES = 80  # at most 79 bytes of keyword and the zero byte that ends it


class TooManyPixelsError(OSError):
    """An image has more pixels than the setting `max_image_megapixels` allows."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: the file cannot be opened, or is no regular file: reading a pipe would block.
    """
    if not path.is_file() and path.exists():
        raise OSError("it is no regular file")
    return path.open("rb")


def check_pixels(width: int, height: int, max_megapixels: float) -> None:
    """Check the size of an image against the limit.

    Raises:
        TooManyPixelsError: the image has more than `max_megapixels` million pixels.
    """
    if width * height > max_megapixels * 1e6:
        raise TooManyPixelsError(
            f"{width} x {height} pixels are {width * height / 1e6:.0f} megapixels, the limit "
            f"max_image_megapixels is {max_megapixels:g}"
        )


def open_image(file: BinaryIO, max_megapixels: float) -> ImageFile.ImageFile:
    """Open an image of one of the `FORMATS` without decoding its pixels.

    Raises:
        OSError: the file has none of the formats. Damage may raise any of `DAMAGE`.
        TooManyPixelsError: see `check_pixels`.
    """
    image = Image.open(file, formats=FORMATS)
    check_pixels(*image.size, max_megapixels)
    return image


def orientation(image: ImageFile.ImageFile) -> int:
    """The orientation of an image, from its EXIF data or else its XMP: EXIF's 1 (upright) to 8.

    Invalid metadata count as upright, as in the published DeepSeek-OCR loader.
    """
    try:
        # PngImageFile.getexif would decode the whole picture wherever there is no EXIF data.
        code = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except _INVALID_METADATA:
        return _UPRIGHT
    return code if isinstance(code, int) and 1 <= code <= 8 else _UPRIGHT


def upright_size(file: BinaryIO, max_megapixels: float) -> tuple[int, int]:
    """Width and height in pixels with the orientation applied, from the header.

    Only a PNG with metadata behind its pixels is decoded: PIL reads these metadata last.

    Raises:
        OSError: see `open_image`.
    """
    late_metadata = _png_has_late_metadata(file)
    with open_image(file, max_megapixels) as image:
        width, height = image.size
        if late_metadata:
            image.load()
        tags = getattr(image, "tag_v2", None)
        if tags is not None:  # the `size` of a TIFF follows its tag already, but not its XMP
            width = tags[ExifTags.Base.ImageWidth]
            height = tags[ExifTags.Base.ImageLength]
        turned = orientation(image) in _QUARTER_TURNS
    return (height, width) if turned else (width, height)


def frame_count(image: ImageFile.ImageFile, file: BinaryIO) -> int:
    """Number of pictures in a file: pages of a TIFF, frames of an animation; mostly 1.

    An animated PNG states its number of frames freely, so the frames that it holds are counted.

    Args:
        image: the opened or loaded image.
        file: a second stream of the same content.
    """
    stated = int(getattr(image, "n_frames", 1))
    if image.format != "PNG" or stated == 1:
        return stated
    frames = sum(kind == b"fcTL" for kind, _ in _png_chunks(file))
    frames += bool(getattr(image, "default_image", False))  # a picture that is no frame
    return max(1, min(stated, frames))


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk of a PNG up to IEND; the stream stands at its content then.

    Other formats have no chunk.
    """
    file.seek(0)
    if file.read(len(_PNG_SIGNATURE)) != _PNG_SIGNATURE:
        return
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4]), header[4:]
        end = file.tell() + length + 4
        yield kind, length
        if kind == b"IEND":
            return
        file.seek(end)


def _png_has_late_metadata(file: BinaryIO) -> bool:
    """Whether a chunk behind the pixels of a PNG may hold an orientation; reads headers only."""
    behind = False
    for kind, _ in _png_chunks(file):
        if kind == b"IDAT":
            behind = True
        elif behind and kind == b"eXIf":
            return True
        elif behind and kind in _PNG_TEXT:
            keyword, _, _ = file.read(_KEYWORD_BYTES).partition(b"\0")
            if keyword in _PNG_KEYWORDS:
                return True
    return False
