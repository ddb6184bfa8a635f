"""Which model is meant: a bundled name, a checkpoint folder or a hub id, looked at without torch.

Reads small JSON files only, as planning a workflow needs the family and the geometry of a model
long before anything is built.
"""

import difflib
import hashlib
import json
import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from mfuscope.errors import UserError
from mfuscope.geometry import MODES, TILED_MODE, Geometry, Tiling, page_geometry
from mfuscope.models.hub import find_on_hub, missing_shards
from mfuscope.models.published import PUBLISHED_ARCHITECTURE

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# What describes a model, and what decides its outputs, apart from the weights.
_DESCRIPTION_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
_LARGEST_HEADER = 100_000_000  # safetensors' own limit
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class Family(StrEnum):
    """What mfuscope knows of an architecture beyond what transformers tells."""

    DEEPSEEK_OCR = "deepseek-ocr"
    UNLIMITED_OCR = "unlimited-ocr"
    DEEPSEEK_OCR_2 = "deepseek-ocr-2"
    GENERIC = "generic"


_TILINGS = {
    Family.DEEPSEEK_OCR: Tiling(max_tiles=9),
    Family.UNLIMITED_OCR: Tiling(max_tiles=32),
    Family.DEEPSEEK_OCR_2: Tiling(tile_size=768, max_tiles=6, stretch_up_to=0),
}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that has been found, described without being built.

    Attributes:
        name: as the user named it.
        source: where it comes from.
        path: the folder that holds its config (for a hub id, the cached snapshot).
        family: what mfuscope knows of it.
        architecture: the class name in its config.
        weights: ``dummy`` (random, seeded) or ``checkpoint``.
        fingerprint: hex digest of its description, and of its weights where there are any; a
            change of it is a different model.
        tiling: how its family cuts pages, None for generic models.
        default_mode: the resolution mode that ``resolution: auto`` means.
    """

    name: str
    source: Literal["bundled", "folder", "hub"]
    path: Path
    family: Family
    architecture: str
    weights: Literal["dummy", "checkpoint"]
    fingerprint: str
    tiling: Tiling | None
    default_mode: str

    def resolution(self, width: int, height: int, mode: str) -> str:
        """Canonical resolution of a page of `width` x `height` pixels in a mode or ``auto``."""
        geometry = self.geometry(width, height, mode)
        # A generic model's own processor decides; its geometry follows from the size all the same.
        return geometry.resolution if geometry else f"native-{width}x{height}"

    def geometry(self, width: int, height: int, mode: str) -> Geometry | None:
        """Views of a page, None where the model's own processor decides."""
        if self.tiling is None:
            return None
        return page_geometry(
            width, height, self.default_mode if mode == "auto" else mode, self.tiling
        )


def resolve_model(name: str, load_format: str, bundled: Path) -> ModelSpec:
    """Find a model.

    Args:
        name: a folder name in `bundled`, a checkpoint folder, or a hub id (``owner/name``).
        load_format: ``auto`` (weights where the model has them; the bundled folders have none) or
            ``dummy``.
        bundled: the folder of the bundled model folders.

    Raises:
        UserError: there is no such model, or it cannot be used.
    """
    source, folder = _find(name, bundled)
    config = read_json(folder / "config.json")
    family, architecture = _family(config, name)
    weights = _weights(folder, source, name, load_format)
    _check_files(folder, source, name, family, weights)
    tiling, mode = _preprocessing(folder, family)
    return ModelSpec(
        name=name,
        source=source,
        path=folder,
        family=family,
        architecture=architecture,
        weights=weights,
        fingerprint=_fingerprint(folder, source, weights),
        tiling=tiling,
        default_mode=mode,
    )


def bundled_names(bundled: Path) -> list[str]:
    """Names of the bundled models, sorted."""
    return sorted(path.parent.name for path in bundled.glob("*/config.json"))


def _find(name: str, bundled: Path) -> tuple[Literal["bundled", "folder", "hub"], Path]:
    names = bundled_names(bundled)
    if name in names:
        return "bundled", bundled / name
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(
                f"model: the folder {name!r} holds no config.json",
                "name a checkpoint folder in the hub's layout",
            )
        return "folder", folder
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UserError(
            f"model: the checkpoint folder {name!r} does not exist",
            "correct the path in `model` (or DSOCR_MODEL)",
        )
    if _HUB_ID.fullmatch(name):
        return "hub", find_on_hub(name)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? Otherwise " if near else ""
    raise UserError(
        f"model: {name!r} is no bundled model, no folder and no hub id",
        f"{hint}set `model` (or DSOCR_MODEL) to one of {', '.join(names)}, a checkpoint folder, "
        "or a hub id like 'owner/name'",
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder.

    Raises:
        UserError: the file cannot be read or is no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"model: cannot read {str(path)!r} ({error})", "restore the file"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"model: {str(path)!r} is no JSON object", "restore the file")
    return content


def _family(config: dict[str, Any], name: str) -> tuple[Family, str]:
    architectures = config.get("architectures") or []
    model_type = config.get("model_type", "")
    if PUBLISHED_ARCHITECTURE in architectures:
        return Family.DEEPSEEK_OCR, PUBLISHED_ARCHITECTURE
    if not architectures:
        raise UserError(
            f"model: the config of {name!r} names no architecture",
            "name a folder whose config.json has `architectures`",
        )
    if model_type == "unlimited_ocr":
        return Family.UNLIMITED_OCR, architectures[0]
    if model_type == "deepseek_ocr2":
        return Family.DEEPSEEK_OCR_2, architectures[0]
    if not _is_image_text_to_text(model_type):
        if config.get("auto_map"):
            raise UserError(
                f"model: {name!r} ({architectures[0]}) runs only with code from its own repository,"
                " which mfuscope does not execute",
                "name a conversion of it to an architecture that transformers carries",
            )
        raise UserError(
            f"model: {name!r} ({architectures[0]}) is no image-text-to-text model of transformers",
            "name a vision-language model that AutoModelForImageTextToText can load",
        )
    return Family.GENERIC, architectures[0]


def _is_image_text_to_text(model_type: str) -> bool:
    # Seconds of import, paid only for models that mfuscope does not know by itself.
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def _weights(
    folder: Path, source: str, name: str, load_format: str
) -> Literal["dummy", "checkpoint"]:
    if load_format == "dummy":
        return "dummy"
    if any(folder.glob("*.safetensors")) or source == "hub":
        return "checkpoint"
    if source == "bundled":
        return "dummy"
    if any(path for pattern in _PICKLES for path in folder.glob(pattern)):
        raise UserError(
            f"model: the weights in {name!r} are pickles, which can run code when they are read",
            "convert them to safetensors",
        )
    raise UserError(
        f"model: the folder {name!r} holds no *.safetensors",
        "put the weights there, or set `load_format: dummy` to measure without weights",
    )


def _check_files(folder: Path, source: str, name: str, family: Family, weights: str) -> None:
    """What a model is fed with, and all of its weights, before anything is measured."""
    wanted: tuple[str, ...] = ("preprocessor_config.json", "processor_config.json")
    if family is not Family.GENERIC:
        wanted = ("tokenizer.json",)
    if not any((folder / file).is_file() for file in wanted):
        raise UserError(
            f"model: {name!r} holds no {' and no '.join(wanted)}",
            "add the model's own tokenizer and processor files",
        )
    if weights == "checkpoint" and source == "folder" and (missing := missing_shards(folder)):
        raise UserError(
            f"model: the folder {name!r} lacks {len(missing)} of the files that its index names, "
            f"first {missing[0]}",
            "copy or download them",
        )


def _preprocessing(folder: Path, family: Family) -> tuple[Tiling | None, str]:
    """Tiling and default mode: the folder's own preprocessor_config.json over the family's."""
    if family is Family.GENERIC:
        return None, "native"
    tiling = _TILINGS[family]
    path = folder / "preprocessor_config.json"
    own = read_json(path) if path.is_file() else {}
    mode = own.get("resolution", TILED_MODE)
    if mode not in MODES:
        raise UserError(
            f"model: {str(path)!r} has the unknown resolution {mode!r}",
            f"use one of {', '.join(MODES)}",
        )
    size = own.get("size", {}).get("height", tiling.base_size)
    return Tiling(
        base_size=size,
        tile_size=own.get("tile_size", tiling.tile_size),
        min_tiles=own.get("min_patches", tiling.min_tiles),
        max_tiles=own.get("max_patches", tiling.max_tiles),
        stretch_up_to=own.get("maximum_pad_value", tiling.stretch_up_to),
    ), mode


def _fingerprint(folder: Path, source: str, weights: str) -> str:
    digest = hashlib.sha256(weights.encode())
    for name in _DESCRIPTION_FILES:
        path = folder / name
        if path.is_file():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    if source == "hub":
        digest.update(folder.name.encode())  # the revision; weights come later, and with it
    elif weights == "checkpoint":
        # Gigabytes are not hashed: sizes and headers (names, shapes, offsets) tell shards apart.
        for path in sorted(folder.glob("*.safetensors")):
            digest.update(f"{path.name} {path.stat().st_size}".encode() + _header(path))
    return digest.hexdigest()[:16]


def _header(path: Path) -> bytes:
    """The JSON header of a safetensors file whose length is what the header says."""
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        header = file.read(min(length, _LARGEST_HEADER))
    try:
        tensors = json.loads(header)
        end = max(
            (t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"),
            default=0,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        end = -1
    if 8 + length + end != path.stat().st_size:
        raise UserError(
            f"model: {str(path)!r} is damaged: its length is not what its header says",
            "copy or download the file again",
        )
    return header
