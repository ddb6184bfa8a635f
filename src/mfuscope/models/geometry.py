"""The geometry of a page: the views that the model gets of it, from the page's size alone.

DeepSeek-OCR takes a page as one square view, or (mode ``gundam``) as a square global view and a
grid of square local tiles. Tokens and FLOPs depend on the page only through this geometry, so
calibrations are kept by its canonical name: ``1024`` or ``1024+640x2x3`` (global view, then tile
size x columns x rows).
"""

import re
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Final

SINGLE_VIEW_SIZES = {"tiny": 512, "small": 640, "base": 1024, "large": 1280}
TILED_MODE = "gundam"
MODES = (*SINGLE_VIEW_SIZES, TILED_MODE)

#: What the names of resolutions begin with that a generic model's own processor makes.
NATIVE: Final = "native-"

_CANONICAL = re.compile(r"(?P<base>\d+)(?:\+(?P<tile>\d+)x(?P<columns>\d+)x(?P<rows>\d+))?")


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a model family cuts a page into views. Sizes in pixels.

    Args:
        base_size: side of the global view in ``gundam`` mode.
        tile_size: side of a local tile.
        min_tiles: fewest local tiles of a tiled page.
        max_tiles: most local tiles.
        stretch_up_to: single views up to this side are stretched to the square; larger ones keep
            the aspect ratio and are padded.
    """

    base_size: int = 1024
    tile_size: int = 640
    min_tiles: int = 2
    max_tiles: int = 9
    stretch_up_to: int = 640


@dataclass(frozen=True, slots=True)
class Geometry:
    """The views of one page: a square view of `base_size`, and `columns` x `rows` local tiles.

    ``columns == rows == 0`` without local tiles.
    """

    base_size: int
    tile_size: int = 0
    columns: int = 0
    rows: int = 0
    stretch: bool = False

    @property
    def tiles(self) -> int:
        """Number of local tiles."""
        return self.columns * self.rows

    @property
    def resolution(self) -> str:
        """The canonical name, e.g. ``1024`` or ``1024+640x2x3``."""
        if not self.tiles:
            return str(self.base_size)
        return f"{self.base_size}+{self.tile_size}x{self.columns}x{self.rows}"


def parse_resolution(resolution: str) -> Geometry:
    """The geometry of a canonical resolution name; it has the shapes, not `stretch`.

    Raises:
        ValueError: `resolution` is not a canonical name.
    """
    match = _CANONICAL.fullmatch(resolution)
    if match is None:
        raise ValueError(f"not a canonical resolution: {resolution!r}")
    base = int(match["base"])
    if match["tile"] is None:
        return Geometry(base)
    return Geometry(base, int(match["tile"]), int(match["columns"]), int(match["rows"]))


def page_geometry(width: int, height: int, mode: str, tiling: Tiling) -> Geometry:
    """The geometry of a page of `width` x `height` pixels in a resolution mode.

    Args:
        mode: one of `MODES`.

    Raises:
        ValueError: unknown mode, or a side below one pixel.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a page has no {width} x {height} pixels")
    if mode in SINGLE_VIEW_SIZES:
        size = SINGLE_VIEW_SIZES[mode]
        return Geometry(size, stretch=size <= tiling.stretch_up_to)
    if mode != TILED_MODE:
        raise ValueError(f"unknown resolution mode {mode!r}, not one of {', '.join(MODES)}")
    if max(width, height) <= tiling.tile_size:
        return Geometry(tiling.base_size)
    columns, rows = tile_grid(width, height, tiling)
    return Geometry(tiling.base_size, tiling.tile_size, columns, rows)


def tile_grid(width: int, height: int, tiling: Tiling) -> tuple[int, int]:
    """The grid (columns, rows) whose aspect ratio is nearest to the page's.

    Of equally near grids, visited by their number of tiles, a later one is chosen if the page has
    more than half its area. The rule is DeepSeek-OCR's and InternVL's.
    """
    aspect_ratio = width / height
    area = width * height
    best, best_difference = (1, 1), float("inf")
    for columns, rows in _grids(tiling.min_tiles, tiling.max_tiles):
        difference = abs(aspect_ratio - columns / rows)
        nearer = difference < best_difference
        fills_half = area > 0.5 * tiling.tile_size**2 * columns * rows
        if nearer or (difference == best_difference and fills_half):
            best, best_difference = (columns, rows), difference
    return best


@cache
def _grids(min_tiles: int, max_tiles: int) -> tuple[tuple[int, int], ...]:
    sides = range(1, max_tiles + 1)
    grids = [(c, r) for c in sides for r in sides if min_tiles <= c * r <= max_tiles]
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))


PATCH_SIZE = 16
DOWNSAMPLE = 4


def view_side_tokens(size: int) -> int:
    """Tokens along one side of a square view of `size` pixels: patches of 16, downsampled by 4."""
    return ceil(size // PATCH_SIZE / DOWNSAMPLE)


def image_tokens(geometry: Geometry) -> int:
    """Image tokens of a page in DeepSeek-OCR: every row of a view ends in a newline token.

    ``q(q+1) + 1`` for the global view of q² features and the view separator, plus
    ``rows·t x (columns·t + 1)`` for the local tiles of t² features each.
    """
    side = view_side_tokens(geometry.base_size)
    tokens = side * (side + 1) + 1
    if geometry.tiles:
        tile_side = view_side_tokens(geometry.tile_size)
        tokens += geometry.rows * tile_side * (geometry.columns * tile_side + 1)
    return tokens


def query_image_tokens(geometry: Geometry) -> int:
    """Image tokens of a page in DeepSeek-OCR-2: one per query of each view, and the separator.

    A view of up to 144 features gets the 144 queries of the 768-pixel resolution, a larger one the
    256 queries of the 1024-pixel resolution.
    """

    def queries(size: int) -> int:
        return 144 if view_side_tokens(size) ** 2 <= 144 else 256

    tokens = queries(geometry.base_size) + 1
    if geometry.tiles:
        tokens += geometry.tiles * queries(geometry.tile_size)
    return tokens
