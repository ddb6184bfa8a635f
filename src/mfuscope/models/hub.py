"""Models of the hub: fetched into its local cache, JSON, text and safetensors only.

Planning fetches the description and fixes the revision; jobs fetch the weights of that revision.
Cached files are not requested again, so that planning works without a network.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfuscope.core.errors import UserError
from mfuscope.models.files import missing_weights

_DESCRIPTION = ["*.json", "*.jinja", "*.txt", "*.model"]
_WEIGHTS = "*.safetensors"


def find_on_hub(name: str) -> Path:
    """Folder of a model's snapshot, with its description files. Its name is the revision.

    Raises:
        UserError: the model is neither cached nor available, or has no safetensors.
    """
    # An import of half a second, which bundled models do not need.
    from huggingface_hub import list_repo_files, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        known = (folder / "config.json").is_file()
    except LocalEntryNotFoundError:
        known = False
    except HFValidationError as error:
        raise UserError(
            f"model: {name!r} cannot be a hub id ({error})", "correct the name in `model`"
        ) from error
    if not known:
        with _report_failure(name):
            folder = Path(snapshot_download(name, allow_patterns=_DESCRIPTION))
            files = list_repo_files(name, revision=folder.name)
        if not any(file.endswith(".safetensors") for file in files):
            raise UserError(
                f"model: the hub model {name!r} holds no safetensors",
                "name a conversion of it to safetensors, or set `load_format: dummy`",
            )
    if not (folder / "config.json").is_file():
        raise UserError(
            f"model: the hub model {name!r} holds no config.json",
            "name a transformers image-text-to-text model",
        )
    return folder


def fetch_weights(name: str, folder: Path) -> Path:
    """The folder of the snapshot with its weights, of the revision that planning found.

    Raises:
        UserError: the weights are neither cached nor available.
    """
    from huggingface_hub import snapshot_download

    with _report_failure(name):
        return Path(
            snapshot_download(
                name,
                revision=folder.name,
                allow_patterns=[*_DESCRIPTION, _WEIGHTS],
                local_files_only=any(folder.glob(_WEIGHTS)) and not missing_weights(folder),
            )
        )


@contextmanager
def _report_failure(name: str) -> Iterator[None]:
    """Turn an error of the hub's library into a user error."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"model: cannot get {name!r} from the hub ({reason})",
            "check the name and the network, or download the model and name its folder",
        ) from error
