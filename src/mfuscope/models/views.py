"""The normalised views of a page, made with PIL alone.

The same steps as DeepSeek-OCR's own preprocessing: bicubic resizing, padding with the mid grey,
values mapped from 0..255 to -1..1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mfuscope.models.geometry import Geometry

_GREY = (127, 127, 127)
_BICUBIC = Image.Resampling.BICUBIC


@dataclass(frozen=True, slots=True)
class Views:
    """A page as the vision encoder takes it.

    Attributes:
        base: float32, shape (1, 3, base_size, base_size), values in -1..1.
        tiles: float32, shape (rows * columns, 3, tile_size, tile_size), row by row, or None.
    """

    base: npt.NDArray[np.float32]
    tiles: npt.NDArray[np.float32] | None


def make_views(page: Image.Image, geometry: Geometry) -> Views:
    """The global view and the local tiles of an RGB page, as `geometry` asks for them."""
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
    """Values 0..255 of shape (height, width, 3) to -1..1 of shape (3, height, width)."""
    values = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)
    return np.ascontiguousarray((values / np.float32(255) - np.float32(0.5)) / np.float32(0.5))
