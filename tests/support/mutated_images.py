"""Small image files of every format that pages may have, and damage done to them, by seed.

The same seed makes the same file: a case is repeated by its number.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

SIZE = (37, 23)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EXTREMES = (
    0,
    1,
    2,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    20_000,
    70_000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
_HUGE = (0, 1, 3, 4_000, 20_000, 65_535, 1_000_000, 0x7FFFFFFF, 0xFFFFFFFF)


def mutated(seed: int) -> tuple[str, bytes]:
    """Name and content of a damaged file, and of an undamaged one now and then."""
    random = Random(seed)
    name, content = random.choice(originals())
    kind, _, _ = name.partition(" ")
    data = bytearray(content)
    steps = []
    for _ in range(random.choice((0, 1, 1, 1, 1, 2, 2, 3))):
        mutation = random.choice(_MUTATIONS)
        steps.append(mutation.__name__.strip("_"))
        mutation(data, random)
        if kind == "PNG" and random.random() < 0.7:  # else the checksum alone would show it
            repair_checksums(data)
    return " + ".join([name, *steps]), bytes(data)


@cache
def originals() -> tuple[tuple[str, bytes], ...]:
    """Valid files, each with a name that begins with its format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (*_pngs(), *_jpegs(), *_webps(), *_tiffs(), *_bmps())


def _picture(mode: str, size: tuple[int, int] = SIZE) -> Image.Image:
    random = np.random.default_rng(size[0])
    noise = random.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    if mode in ("I;16", "I", "F"):
        return Image.fromarray(noise[..., 0].astype(np.uint16) * 257).convert(mode)
    return Image.fromarray(noise, "RGBA").convert(mode)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    return file.getvalue()


def _exif(code: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = code
    exif[ExifTags.Base.Software] = "software"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


_XMP = '<rdf:Description tiff:Orientation="6"/>'


def _pngs() -> Iterator[tuple[str, bytes]]:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"PNG {mode}", _saved(_picture(mode), "PNG")
    palette = _picture("RGB").quantize(16)
    yield "PNG P 4 bits", _saved(palette, "PNG", bits=4, transparency=3)
    yield "PNG P alpha", _saved(palette, "PNG", transparency=bytes(range(16)))
    yield "PNG exif", _saved(_picture("RGB"), "PNG", exif=_exif(6))
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", _XMP)
    texts.add_text("Comment", "text" * 50, zip=True)
    yield "PNG texts", _saved(_picture("RGB"), "PNG", pnginfo=texts, dpi=(300, 300))
    late = PngImagePlugin.PngInfo()
    late.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP.encode(), after_idat=True)
    yield "PNG late", _saved(_picture("L"), "PNG", pnginfo=late, icc_profile=b"p" * 200)
    frames = [_picture("RGBA", (37, 23)), _picture("RGBA", (37, 23)).rotate(180)]
    yield "PNG animated", _saved(_picture("RGBA"), "PNG", save_all=True, append_images=frames)
    yield "PNG interlaced", _png(8, 2, 1)
    yield "PNG interlaced grey", _png(16, 0, 1)
    yield "PNG RGB 16 bits", _png(16, 2, 0)
    yield "PNG RGBA 16 bits", _png(16, 6, 0)


def _png(bits: int, colour: int, interlaced: int) -> bytes:
    """What PIL reads and does not write; all black."""
    width, height = SIZE
    channels = {0: 1, 2: 3, 6: 4}[colour]
    adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    passes = (*adam7, (0, 1, 1, 2)) if interlaced else ((0, 0, 1, 1),)
    rows = b""
    for x, y, dx, dy in passes:
        columns = -(-(width - x) // dx)
        rows += (b"\0" + bytes(columns * channels * bits // 8)) * -(-(height - y) // dy)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return SIGNATURE + b"".join(png_chunk(kind, content) for kind, content in chunks)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _jpegs() -> Iterator[tuple[str, bytes]]:
    for mode in ("L", "RGB", "CMYK"):
        yield f"JPEG {mode}", _saved(_picture(mode), "JPEG")
        yield f"JPEG {mode} progressive", _saved(_picture(mode), "JPEG", progressive=True)
    for code in (1, 3, 6, 8):
        yield f"JPEG exif {code}", _saved(_picture("RGB"), "JPEG", exif=_exif(code))
    profile = {"icc_profile": b"p" * 300, "comment": b"comment", "dpi": (72, 72)}
    yield "JPEG profile", _saved(_picture("RGB"), "JPEG", subsampling=2, **profile)
    yield "JPEG xmp", _saved(_picture("RGB"), "JPEG", xmp=_XMP.encode())
    more = [_picture("RGB", (20, 30))]
    mpo = _saved(_picture("RGB"), "MPO", save_all=True, append_images=more, exif=_exif(8))
    yield "JPEG MPO", mpo


def _webps() -> Iterator[tuple[str, bytes]]:
    yield "WEBP lossy", _saved(_picture("RGB"), "WEBP")
    yield "WEBP lossless", _saved(_picture("RGB"), "WEBP", lossless=True)
    yield "WEBP alpha", _saved(_picture("RGBA"), "WEBP", exif=_exif(6), xmp=_XMP.encode())
    more = [_picture("RGBA").rotate(180)]
    yield "WEBP animated", _saved(_picture("RGBA"), "WEBP", save_all=True, append_images=more)


def _tiffs() -> Iterator[tuple[str, bytes]]:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"):
        yield f"TIFF {mode}", _saved(_picture(mode), "TIFF")
    for compression in ("packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "zstd", "lzma"):
        yield f"TIFF {compression}", _saved(_picture("RGB"), "TIFF", compression=compression)
    yield "TIFF group4", _saved(_picture("1"), "TIFF", compression="group4")
    yield "TIFF group3", _saved(_picture("1"), "TIFF", compression="group3")
    big = _saved(_picture("I;16"), "TIFF", compression="tiff_lzw")
    yield "TIFF 16 bits zip", big
    yield (
        "TIFF 12 bits",
        _saved(_picture("I;16"), "TIFF").replace(
            struct.pack("<HHIH", 258, 3, 1, 16), struct.pack("<HHIH", 258, 3, 1, 12)
        ),
    )
    more = [_picture("L", (20, 30)), _picture("1", (9, 9))]
    yield "TIFF pages", _saved(_picture("RGB"), "TIFF", save_all=True, append_images=more)
    yield "TIFF exif", _saved(_picture("RGB"), "TIFF", exif=_exif(6))
    yield "TIFF big", _saved(_picture("RGB"), "TIFF", big_tiff=True)


def _bmps() -> Iterator[tuple[str, bytes]]:
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"BMP {mode}", _saved(_picture(mode), "BMP")


# --- damage --------------------------------------------------------------------------------------


def _place(data: bytearray, random: Random) -> int:
    """Half of the time in the headers."""
    end = len(data) if random.random() < 0.5 else min(len(data), 200)
    return random.randrange(end) if end else 0


def _flip_bits(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 2, 5, 20)) if data else 0):
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _set_bytes(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 2, 8)) if data else 0):
        data[_place(data, random)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))


def _cut(data: bytearray, random: Random) -> None:
    del data[_place(data, random) :]


def _remove(data: bytearray, random: Random) -> None:
    start = _place(data, random)
    del data[start : start + random.choice((1, 2, 4, 50, 500))]


def _insert(data: bytearray, random: Random) -> None:
    start, length = _place(data, random), random.choice((1, 2, 4, 50, 5_000))
    data[start:start] = random.randbytes(length) if random.random() < 0.5 else bytes(length)


def _repeat(data: bytearray, random: Random) -> None:
    start = _place(data, random)
    part = data[start : start + random.choice((4, 12, 100, 1_000))]
    data[start:start] = part * random.choice((1, 3, 200))


def _lie_about_a_length(data: bytearray, random: Random) -> None:
    """A number of a header, or what may be one, in either order of bytes."""
    start = _place(data, random)
    form = random.choice((">H", "<H", ">I", "<I"))
    value = random.choice(_EXTREMES) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
    data[start : start + struct.calcsize(form)] = struct.pack(form, value)


def _lie_about_the_size(data: bytearray, random: Random) -> None:
    """Width and height as the format has them."""
    width, height = random.choice(_HUGE), random.choice(_HUGE)
    if data.startswith(SIGNATURE):
        data[16:24] = struct.pack(">II", width, height)
    elif data.startswith(b"BM"):
        data[18:26] = struct.pack("<II", width, height)
    elif data.startswith(b"RIFF") and data[12:16] == b"VP8X":
        data[24:30] = struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
    elif data.startswith(b"RIFF"):
        data[26:30] = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    elif data.startswith(b"\xff\xd8"):
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            start = data.find(marker)
            if start >= 0:
                data[start + 5 : start + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    else:
        for tag, value in ((256, width), (257, height)):
            for kind, form in ((3, "<H"), (4, "<I")):
                start = data.find(struct.pack("<HHI", tag, kind, 1))
                if start >= 0:
                    size = struct.calcsize(form)
                    number = struct.pack(form, value & (1 << 8 * size) - 1)
                    data[start + 8 : start + 8 + size] = number


def _spoil_metadata(data: bytearray, random: Random) -> None:
    """Garbage where EXIF, XMP or texts begin."""
    marks = (
        b"Exif\0\0",
        b"eXIf",
        b"EXIF",
        b"II*\0",
        b"MM\0*",
        b"XML:com",
        b"XMP ",
        b"iCCP",
        b"zTXt",
    )
    found = [data.find(mark, 12) + len(mark) for mark in marks if data.find(mark, 12) >= 0]
    start = random.choice(found) if found else _place(data, random)
    length = random.choice((1, 4, 8, 40))
    data[start : start + length] = random.randbytes(length)


def _swap_headers(data: bytearray, random: Random) -> None:
    _, other = random.choice(originals())
    length = random.choice((4, 8, 16, 30, 64))
    data[:length] = other[:length]


def _splice(data: bytearray, random: Random) -> None:
    _, other = random.choice(originals())
    data[_place(data, random) :] = other[random.randrange(len(other)) :]


_MUTATIONS: tuple[Callable[[bytearray, Random], None], ...] = (
    *(_flip_bits, _set_bytes, _cut, _remove, _insert, _repeat),
    *(_lie_about_a_length, _lie_about_a_length, _lie_about_the_size, _lie_about_the_size),
    *(_spoil_metadata, _swap_headers, _splice),
)


def repair_checksums(data: bytearray) -> None:
    """Give every chunk of a PNG that is still one its checksum."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        end = start + 8 + length
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[start + 4 : end]))
        start = end + 4
