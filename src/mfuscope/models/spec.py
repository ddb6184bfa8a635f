"""Which model is meant: a bundled name, a checkpoint folder or a hub id, looked at without torch.

Reads small JSON files only, as planning a workflow needs the family and the geometry of a model
long before anything is built.
"""

import difflib
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from mfuscope.core.errors import UserError
from mfuscope.models.files import (
    check_tokenizer,
    check_weights,
    read_json,
    unreadable,
    weight_headers,
)
from mfuscope.models.geometry import (
    Geometry,
    Tiling,
    image_tokens,
    page_geometry,
    query_image_tokens,
)
from mfuscope.models.hub import find_on_hub
from mfuscope.models.preprocessor import read_tiling
from mfuscope.models.published import PUBLISHED_ARCHITECTURE, map_published_config
from mfuscope.models.sizes import check_sizes, is_whole

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
_ADAPTER = "adapter_config.json"
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
        positions: tokens that its language model has positions for, None if planning cannot tell.
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
    positions: int | None

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

    def image_tokens(self, geometry: Geometry) -> int:
        """Tokens that stand for a page; of families with a tiling."""
        if self.family is Family.DEEPSEEK_OCR_2:
            return query_image_tokens(geometry)
        return image_tokens(geometry)


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
    try:
        return _resolve(name, load_format, bundled)
    except OSError as error:  # no permission, a disk that fails: in looking for a file, or reading
        raise unreadable(error.filename or name, error, "see that its disk works") from error


def _resolve(name: str, load_format: str, bundled: Path) -> ModelSpec:
    source, folder = _find(name, bundled)
    config = read_json(folder / "config.json")
    family, architecture = _family(config, name)
    _check_config(config, family, name, load_format)
    weights = _weights(folder, source, name, load_format)
    _check_files(folder, source, name, family, weights)
    tiling, mode = None, "native"
    if family is not Family.GENERIC:
        tiling, mode = read_tiling(folder, _TILINGS[family])
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
        positions=_positions(config, family),
    )


def bundled_names(bundled: Path) -> list[str]:
    """Names of the bundled models, sorted."""
    return sorted(path.parent.name for path in bundled.glob("*/config.json"))


def _find(name: str, bundled: Path) -> tuple[Literal["bundled", "folder", "hub"], Path]:
    names = bundled_names(bundled)
    if name in names:
        return "bundled", bundled / name
    folder = _expanded(name)
    if folder.is_dir():
        # Listed, as globs pass over a folder that may not be, which would seem to hold no weights.
        if "config.json" not in [path.name for path in folder.iterdir()]:
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


def _expanded(name: str) -> Path:
    try:
        folder = Path(name).expanduser()
        folder.is_dir()
    except (OSError, RuntimeError) as error:  # no access, a name too long, no such user
        raise UserError(
            f"model: cannot look for the folder {name!r} ({error})",
            "correct the path in `model` (or DSOCR_MODEL)",
        ) from error
    return folder


def _family(config: dict[str, Any], name: str) -> tuple[Family, str]:
    names, model_type = config.get("architectures"), config.get("model_type")
    architectures = names if isinstance(names, list) else []
    if not (architectures and isinstance(architectures[0], str)):
        raise UserError(
            f"model: the config of {name!r} names no architecture",
            "name a folder whose config.json has a list of names as `architectures`",
        )
    if PUBLISHED_ARCHITECTURE in architectures:
        return Family.DEEPSEEK_OCR, PUBLISHED_ARCHITECTURE
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


def _is_image_text_to_text(model_type: object) -> bool:
    if not isinstance(model_type, str):
        return False
    # Seconds of import, paid only for models that mfuscope does not know by itself.
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def _check_config(config: dict[str, Any], family: Family, name: str, load_format: str) -> None:
    """What a config's JSON alone tells, before libraries meet it."""
    try:
        if family is Family.DEEPSEEK_OCR:
            map_published_config(config)
        else:
            check_sizes(config)
    except ValueError as error:
        raise UserError(
            f"model: the config of {name!r} cannot be used ({error})",
            "correct or restore its config.json",
        ) from error
    # transformers would take the weights from there, be it a pickle.
    if load_format != "dummy" and config.get("transformers_weights") is not None:
        raise UserError(
            f"model: the config of {name!r} names a file of weights (`transformers_weights`)",
            "remove that line, and name the files as the hub does",
        )


def _positions(config: dict[str, Any], family: Family) -> int | None:
    key = "language_config" if family is Family.DEEPSEEK_OCR else "text_config"
    language = config.get(key)
    if family is Family.GENERIC or not isinstance(language, dict):
        return None
    positions = language.get("max_position_embeddings")
    return positions if is_whole(positions) else None


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
    for file in filter(Path.is_file, (folder / file for file in _DESCRIPTION_FILES)):
        if file.name == "tokenizer.json":
            check_tokenizer(file)
        elif file.suffix == ".json":
            read_json(file)  # transformers does without some of them, damaged or not
    if (folder / _ADAPTER).is_file():
        raise UserError(
            f"model: {name!r} holds an adapter ({_ADAPTER}), which mfuscope does not apply",
            "merge the adapter into the weights, or remove the file",
        )
    if weights == "checkpoint" and source == "folder":  # the hub's come later, and are checked then
        check_weights(folder)


def _fingerprint(folder: Path, source: str, weights: str) -> str:
    digest = hashlib.sha256(weights.encode())
    for name in _DESCRIPTION_FILES:
        path = folder / name
        if path.is_file():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    if source == "hub":
        digest.update(folder.name.encode())  # the revision; weights come later, and with it
    elif weights == "checkpoint":
        for file, size, header in weight_headers(folder):
            digest.update(f"{file} {size}".encode() + header)
    return digest.hexdigest()[:16]
