"""Pixels: from an image file to the normalised views of a `Geometry`, with PIL alone.

The same steps as DeepSeek-OCR's own preprocessing: EXIF rotation applied, RGB, bicubic resizing,
padding with the mid grey, values mapped from 0..255 to -1..1. One step deviates: 16-bit greyscale
is scaled (`read_page`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps

from mfuscope.geometry import Geometry
from mfuscope.image_headers import open_image, orientation

_GREY = (127, 127, 127)
_BICUBIC = Image.Resampling.BICUBIC

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
class Views:
    """A page as the vision encoder takes it.

    Attributes:
        base: float32, shape (1, 3, base_size, base_size), values in -1..1.
        tiles: float32, shape (rows * columns, 3, tile_size, tile_size), row by row, or None.
    """

    base: npt.NDArray[np.float32]
    tiles: npt.NDArray[np.float32] | None


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


def make_views(page: Image.Image, geometry: Geometry) -> Views:
    """The global view and the local tiles of an RGB page."""
    size = (geometry.base_size, geometry.base_size)
    if geometry.stretch:
        base = page.resize(size, _BICUBIC)
    else:
        base = ImageOps.pad(page, size, method=_BICUBIC, color=_GREY)
    tiles = None
    if geometry.tiles:
        side = geometry.tile_size
        canvas = page.resize((side * geometry.columns, side * geometry.rows), _BICUBIC)
        boxes = [
            (column * side, row * side, (column + 1) * side, (row + 1) * side)
            for row in range(geometry.rows)
            for column in range(geometry.columns)
        ]
        tiles = np.stack([_normalise(canvas.crop(box)) for box in boxes])
    return Views(_normalise(base)[None], tiles)


def _normalise(image: Image.Image) -> npt.NDArray[np.float32]:
    """Values 0..255, height x width x 3, to -1..1, 3 x height x width."""
    values = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)
    return np.ascontiguousarray((values / np.float32(255) - np.float32(0.5)) / np.float32(0.5))
