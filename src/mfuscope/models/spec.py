"""Finding a model by its name (bundled, folder or hub id) and describing it without torch.

Reads small JSON files only: planning needs the family and the geometry of a model long before
anything is built.
"""

import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mfuscope.core.errors import UserError
from mfuscope.core.language import Language
from mfuscope.core.records import Quantisation
from mfuscope.models.families import TILINGS, Family, identify_family
from mfuscope.models.files import (
    check_regular_files,
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
from mfuscope.models.language import planned_language, planned_positions
from mfuscope.models.preprocessor import read_tiling
from mfuscope.models.published import as_transformers
from mfuscope.models.quantisation import read_quantisation
from mfuscope.models.sizes import check_sizes

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Files that transformers ignores, or reads in part, where they are damaged.
_CHECKED_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
)
# What, beside the weights, decides a model's outputs: config, tokenizer, processor and templates.
_DESCRIPTION = (
    *("*.json", "*.jinja", "*.model", "vocab.txt", "merges.txt"),
    *("additional_chat_templates/*.jinja", "*_tokenizer/*"),
)
_INDEX = ".index.json"
_ADAPTER = "adapter_config.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that was found, described without being built.

    Attributes:
        name: as the user named it.
        source: where it comes from.
        path: the folder of its config; of a hub id, the cached snapshot.
        family: its family.
        architecture: the class name in its config.
        weights: ``dummy`` (random, seeded) or ``checkpoint``.
        fingerprint: hex digest of its description files and of the headers of its weights;
            another fingerprint means another model.
        tiling: how it cuts pages into views, None for generic models.
        default_mode: the resolution mode that ``resolution: auto`` means.
        positions: the context limit of its language model in tokens, None if planning cannot know
            it.
        language: its language decoder, None if planning cannot know it.
        quantisation: how its weights are quantised, None if they are not.
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
    language: Language | None
    quantisation: Quantisation | None = None

    def geometry(self, width: int, height: int, mode: str) -> Geometry | None:
        """The views of a page, None for generic models, whose own processor decides."""
        if self.tiling is None:
            return None
        return page_geometry(
            width, height, self.default_mode if mode == "auto" else mode, self.tiling
        )

    def image_tokens(self, geometry: Geometry) -> int:
        """Number of image tokens of a page; only for families with a tiling."""
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
    except OSError as error:  # no permission, or a failing disk
        raise unreadable(error.filename or name, error, "see that its disk works") from error


def _resolve(name: str, load_format: str, bundled: Path) -> ModelSpec:
    source, folder = _find(name, bundled)
    check_regular_files(folder)
    config = read_json(folder / "config.json")
    family, architecture = identify_family(config, name)
    _check_config(config, name, load_format)
    quantisation = read_quantisation(config, name, load_format)
    weights = _weights(folder, source, name, load_format)
    _check_files(folder, source, name, family, weights)
    tiling, mode = None, "native"
    if family is not Family.GENERIC:
        tiling, mode = read_tiling(folder, TILINGS[family])
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
        positions=planned_positions(config, family),
        language=planned_language(config, family),
        quantisation=quantisation,
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
        # `iterdir` raises where listing is not permitted; `glob` would find nothing.
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
    except (OSError, RuntimeError) as error:  # no access, name too long, unknown user
        raise UserError(
            f"model: cannot look for the folder {name!r} ({error})",
            "correct the path in `model` (or DSOCR_MODEL)",
        ) from error
    return folder


def _check_config(config: dict[str, Any], name: str, load_format: str) -> None:
    """Refuse a config that transformers could not use.

    Raises:
        UserError: a size is missing or makes no sense, or it names a file of weights.
    """
    try:
        check_sizes(as_transformers(config))
    except ValueError as error:
        raise UserError(
            f"model: the config of {name!r} cannot be used ({error})",
            "correct or restore its config.json",
        ) from error
    # transformers would load that file, even a pickle.
    if load_format != "dummy" and config.get("transformers_weights") is not None:
        raise UserError(
            f"model: the config of {name!r} names a file of weights (`transformers_weights`)",
            "remove that line, and name the files as the hub does",
        )


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
    """Check that tokenizer, processor and weights are complete and readable.

    Raises:
        UserError: a file is missing or damaged, or the folder holds an adapter.
    """
    wanted: tuple[str, ...] = ("preprocessor_config.json", "processor_config.json")
    if family is not Family.GENERIC:
        wanted = ("tokenizer.json",)
    if not any((folder / file).is_file() for file in wanted):
        raise UserError(
            f"model: {name!r} holds no {' and no '.join(wanted)}",
            "add the model's own tokenizer and processor files",
        )
    for file in filter(Path.is_file, (folder / file for file in _CHECKED_FILES)):
        if file.name == "tokenizer.json":
            check_tokenizer(file)
        else:
            read_json(file)
    if (folder / _ADAPTER).is_file():
        raise UserError(
            f"model: {name!r} holds an adapter ({_ADAPTER}), which mfuscope does not apply",
            "merge the adapter into the weights, or remove the file",
        )
    if weights == "checkpoint" and source == "folder":  # a hub's weights are fetched by jobs
        check_weights(folder)


def _fingerprint(folder: Path, source: str, weights: str) -> str:
    digest = hashlib.sha256(weights.encode())
    paths = {path for pattern in _DESCRIPTION for path in folder.glob(pattern) if path.is_file()}
    for path in sorted(paths):
        if not path.name.endswith(_INDEX):
            name = path.relative_to(folder).as_posix()
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    if source == "hub":
        digest.update(folder.name.encode())  # the revision, which decides the weights
    elif weights == "checkpoint":
        for file, size, header in weight_headers(folder):
            digest.update(f"{file} {size}".encode() + header)
    return digest.hexdigest()[:16]
