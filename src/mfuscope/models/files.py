"""Files of a model folder: JSON objects, and the safetensors that hold its weights.

Only headers are read, never tensors, and without torch: planning finds a damaged copy before
anything is measured.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open

from mfuscope.core.errors import UserError

# The names under which transformers looks for weights, in this order.
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SUFFIX = ".safetensors"

# Files that mfuscope or transformers may read.
_READ = (".json", ".jinja", ".txt", ".model", _SUFFIX)

_LENGTH = struct.Struct("<Q")
_AGAIN = "copy or download the file again"
_PERMISSION = "give yourself read permission for the folder and its files (chmod -R u+rX)"


def unreadable(path: str | Path, error: Exception, remedy: str) -> UserError:
    """The error for a file or folder that cannot be read.

    Args:
        remedy: for any error but missing permission.
    """
    if isinstance(error, PermissionError):
        remedy = _PERMISSION
    return UserError(f"model: cannot read {str(path)!r} ({error})", remedy)


def check_regular_files(folder: Path) -> None:
    """Check that all files that may be read are regular: a pipe would block, a device never end.

    Raises:
        UserError: names one that is not.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix in _READ and path.exists() and not path.is_file():
            raise UserError(f"model: {str(path)!r} is no regular file", _AGAIN)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder.

    Raises:
        UserError: the file cannot be read or is no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error, _AGAIN) from error
    if not isinstance(content, dict):
        raise UserError(f"model: {str(path)!r} is no JSON object", _AGAIN)
    return content


def check_tokenizer(path: Path) -> None:
    """Check that a tokenizer.json is JSON and holds a tokenizer's model.

    It may have megabytes, which are scanned but not decoded.

    Raises:
        UserError: it is not, or it cannot be read.
    """
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise unreadable(path, error, _AGAIN) from error
    if "model" not in content:
        raise UserError(f"model: cannot read {str(path)!r} (it has no `model`)", _AGAIN)


def missing_weights(folder: Path) -> list[str]:
    """Names of the files of weights that a folder's index lists and that do not exist, sorted.

    Raises:
        UserError: the index cannot be used.
    """
    return [name for name in _names(folder) if not (folder / name).is_file()]


def check_weights(folder: Path) -> None:
    """Check that a folder's weights are complete and that their headers are valid.

    Raises:
        UserError: a file is missing or damaged, or the files do not match the index.
    """
    names = _names(folder)
    if not names:
        raise UserError(
            f"model: the folder {str(folder)!r} holds neither {_SINGLE} nor {_INDEX}",
            "name the files as the hub does, or set `load_format: dummy` to measure without them",
        )
    if missing := missing_weights(folder):
        raise UserError(
            f"model: the folder {str(folder)!r} lacks {len(missing)} of the files that its index "
            f"names, first {missing[0]!r}",
            "copy or download them",
        )
    found = {tensor: name for name in names for tensor in _tensors(folder / name)}
    wanted = {} if names == [_SINGLE] else _weight_map(folder)
    if strays := [tensor for tensor, name in wanted.items() if found.get(tensor) != name]:
        raise UserError(
            f"model: {strays[0]!r} is not in {wanted[strays[0]]!r} of the folder {str(folder)!r}, "
            f"where {_INDEX} has it",
            "copy or download the index and the files that it names again, together",
        )


def weight_headers(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """Name, size in bytes and header of each file of weights, sorted by name.

    Headers hold the tensors' names, shapes and offsets, which distinguish checkpoints without
    reading gigabytes. The files must have passed `check_weights`.
    """
    for name in _names(folder):
        with (folder / name).open("rb") as file:
            header = file.read(_LENGTH.unpack(file.read(_LENGTH.size))[0])
            yield name, (folder / name).stat().st_size, header


def _names(folder: Path) -> list[str]:
    if (folder / _SINGLE).is_file():
        return [_SINGLE]
    return sorted(set(_weight_map(folder).values())) if (folder / _INDEX).is_file() else []


def _weight_map(folder: Path) -> dict[str, str]:
    """Tensor -> file, from the index.

    Only safetensors in the folder itself are accepted: transformers would follow an index out of
    the folder, and would unpickle a file with another suffix.
    """
    index = read_json(folder / _INDEX)
    weights = index.get("weight_map")
    if not (isinstance(weights, dict) and weights and isinstance(index.get("metadata"), dict)):
        raise UserError(
            f"model: cannot read {str(folder / _INDEX)!r} (it has no `weight_map` and `metadata`)",
            _AGAIN,
        )
    for name in weights.values():
        if not isinstance(name, str) or PurePosixPath(name).name != name:
            problem = f"names {name!r}, which is no file of its folder"
        elif not name.endswith(_SUFFIX):
            problem = f"names {name!r}, which is no {_SUFFIX} file"
        else:
            continue
        raise UserError(f"model: {str(folder / _INDEX)!r} {problem}", _AGAIN)
    return weights


def _tensors(path: Path) -> list[str]:
    """The tensors of a file; safetensors checks that they cover it without gap or overlap."""
    try:
        path.open("rb").close()  # safetensors does not distinguish missing permission
        with safe_open(path, framework="np") as file:
            return list(file.keys())
    except PermissionError as error:
        raise unreadable(path, error, _AGAIN) from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"model: {str(path)!r} is damaged ({error})", _AGAIN) from error
