"""The tiling that a model folder asks for in its preprocessor_config.json."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mfuscope.core.errors import UserError
from mfuscope.models.files import read_json
from mfuscope.models.geometry import MODES, TILED_MODE, Tiling
from mfuscope.models.sizes import is_whole, shown

# Limits of a view's side in pixels and of the tiles: a smaller view has no token, a larger one
# fits into no memory.
_SIDES = (64, 8192)
_TILES = (1, 100)


def read_tiling(folder: Path, usual: Tiling) -> tuple[Tiling, str]:
    """Tiling and default mode of a folder; the family's where the folder does not state them.

    Args:
        usual: the family's tiling.

    Raises:
        UserError: preprocessor_config.json cannot be read or has an invalid value.
    """
    path = folder / "preprocessor_config.json"
    own = read_json(path) if path.is_file() else {}
    mode = own.get("resolution", TILED_MODE)
    if mode not in MODES:
        raise UserError(
            f"model: {str(path)!r} has the unknown resolution {shown(mode)}",
            f"use one of {', '.join(MODES)}",
        )
    size = own.get("size", {"height": usual.base_size})
    base_size: Any = size.get("height") if isinstance(size, dict) else size
    tiling = replace(
        usual,
        base_size=base_size,
        tile_size=own.get("tile_size", usual.tile_size),
        min_tiles=own.get("min_patches", usual.min_tiles),
        max_tiles=own.get("max_patches", usual.max_tiles),
        stretch_up_to=own.get("maximum_pad_value", usual.stretch_up_to),
    )
    for key, value, (least, most) in (
        ("size.height", tiling.base_size, _SIDES),
        ("tile_size", tiling.tile_size, _SIDES),
        ("max_patches", tiling.max_tiles, _TILES),
        ("min_patches", tiling.min_tiles, (_TILES[0], tiling.max_tiles)),
        ("maximum_pad_value", tiling.stretch_up_to, (0, _SIDES[1])),
    ):
        if not is_whole(value) or not least <= value <= most:
            raise UserError(
                f"model: {key} in {str(path)!r} is {shown(value)}",
                f"use a whole number from {least} to {most}",
            )
    return tiling, mode
