"""Whether an image file has its end, where its decoder does not ask.

After a power cut, or a download into a file of its final size, the rest of a file is zeros. Many a
decoder takes those for pixels.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from mfuscope.pages.headers import open_image, png_chunks

_ZEROS = 512  # the least that a file system gives or keeps back
_BLOCK = 1 << 20

# What no byte of a JPEG's compressed pixels is: there, FF is followed by 0 or by a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END_OF_IMAGE = 0xD9
_WITHOUT_LENGTH = (0x01, 0xD8)

# Compressed data of these kinds ends with a mark or a checksum, or has no use for so many zeros.
_TIFF_COMPRESSIONS = (
    *("tiff_ccitt", "group3", "group4", "packbits", "jpeg"),
    *("tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "zstd", "lzma"),
)
_STRIPS = (ExifTags.Base.StripOffsets, ExifTags.Base.StripByteCounts)
_TILES = (0x0144, 0x0145)  # offsets and byte counts


def check_end(path: Path) -> None:
    """Look for what an image's decoder does not miss: the end of the file's data.

    What cannot be noticed: zeros in pixels that are not compressed (BMP, TIFF), as they are black;
    other damage within compressed pixels that decodes, but for a PNG's, which have checksums; a few
    WebPs whose lost end was of one colour, or noise.

    Raises:
        OSError: the file is cut short, or zeros stand in for its end. Other damage may show itself
            as any of `image_headers.DAMAGE`.
    """
    with open_image(path) as image, path.open("rb") as file:
        check = _CHECKS.get(image.format or "")
        if check is not None:
            check(file)
        elif image.format == "TIFF":
            _check_tiff(file, image.info.get("compression"), getattr(image, "tag_v2", {}))


def _check_png(file: BinaryIO) -> None:
    kind = b""
    for kind, length in png_chunks(file):
        # PIL looks at the checksums of all chunks but these.
        if kind in (b"IDAT", b"IEND") and not _checksum_holds(file, kind, length):
            raise OSError("it is damaged: the checksum of its pixels or of its end is wrong")
    if kind != b"IEND":
        raise OSError("it is cut short: a PNG's last chunk is missing")


def _checksum_holds(file: BinaryIO, kind: bytes, length: int) -> bool:
    check = zlib.crc32(kind)
    while length and (block := file.read(min(length, _BLOCK))):
        check = zlib.crc32(block, check)
        length -= len(block)
    return file.read(4) == check.to_bytes(4)


def _check_jpeg(file: BinaryIO) -> None:
    """Find the first picture's end; a thumbnail's lies within a segment, and is passed over.

    What follows is nobody's business: zeros, other pictures (MPO), films.
    """
    content = file.read()
    position = 2
    while found := _MARKER.search(content, position):
        marker, position = found[0][1], found.end()
        if marker == _END_OF_IMAGE:
            return
        if marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(content[position : position + 2])
    raise OSError("it is cut short: a JPEG's end marker is missing")


def _check_webp(file: BinaryIO) -> None:
    """See whether zeros at the pixels' end belong there: a white margin may be thousands of them.

    Their decoder fails without the last of them then; data that zeros were written over mostly has
    some to spare.
    """
    file.seek(12)
    while len(header := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", header)
        if kind in (b"VP8 ", b"VP8L"):
            pixels = file.read(length)
            if pixels.endswith(bytes(_ZEROS)) and _decodes(kind, pixels[:-_ZEROS]):
                raise OSError("it is cut short: zeros stand in for its end")
            return
        file.seek(length + length % 2, io.SEEK_CUR)


def _decodes(kind: bytes, pixels: bytes) -> bool:
    """Whether a WebP of these compressed pixels is a whole picture."""
    padded = pixels + bytes(len(pixels) % 2)
    chunk = struct.pack("<4sI", kind, len(pixels)) + padded
    content = struct.pack("<4sI4s", b"RIFF", 4 + len(chunk), b"WEBP") + chunk
    try:
        with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
            image.load()
    except OSError:
        return False
    return True


def _check_tiff(file: BinaryIO, compression: str | None, tags: Any) -> None:
    if compression not in _TIFF_COMPRESSIONS:
        return
    offsets, lengths = (tags.get(tag, ()) for tag in (_TILES if _TILES[0] in tags else _STRIPS))
    end = max((sum(part) for part in zip(offsets, lengths, strict=False)), default=0)
    file.seek(max(0, end - _ZEROS))
    if file.read(_ZEROS) == bytes(_ZEROS):
        raise OSError("it is cut short: zeros stand in for its end")


_CHECKS: dict[str, Callable[[BinaryIO], None]] = {
    "PNG": _check_png,
    "JPEG": _check_jpeg,
    "MPO": _check_jpeg,
    "WEBP": _check_webp,
}
