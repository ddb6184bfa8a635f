"""Pixels: from an image file to the normalised views of a `Geometry`, with PIL alone.

The same steps as DeepSeek-OCR's own preprocessing: EXIF rotation applied, RGB, bicubic resizing,
padding with the mid grey, values mapped from 0..255 to -1..1. One step deviates: 16-bit greyscale
is scaled (`read_page`).
"""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile

from mfuscope.pages.headers import open_image, orientation

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


def read_page(path: Path) -> Image.Image:
    """Decode an image file into upright 8-bit RGB (its EXIF or XMP rotation applied).

    As the published model's own loader: of several frames or pages, the first; transparency is
    dropped by ``convert("RGB")``, which shows the colours beneath it, black as they may be.
    Composing onto white would look better and feed the model something else than it gets in use.

    Unlike it, 16-bit greyscale is scaled to 8 bits. ``convert`` clips the values at 255, and nearly
    every pixel becomes white.

    Raises:
        OSError: the file cannot be read or decoded. Damage may show itself as any of
            `image_headers.DAMAGE`.
        ValueError: the pixels' values have no defined range (floats, integers beyond 16 bits).
    """
    with open_image(path) as image:
        image.load()  # before asking for the orientation: a TIFF is turned by this already
        turn = _TURNS.get(orientation(image))
        page = _rgb(image)
    return page if turn is None else page.transpose(turn)


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
