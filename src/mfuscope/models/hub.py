"""Models of the hub: fetched into its local cache, JSON and safetensors only."""

from pathlib import Path

from mfuscope.errors import UserError


def fetch_from_hub(name: str, *, weights: bool) -> Path:
    """Folder of a hub model's snapshot in the local cache, fetched where it is not there yet.

    Only JSON, text and (with `weights`) safetensors files: no code and no pickles.

    Raises:
        UserError: it is not in the cache and cannot be fetched.
    """
    from huggingface_hub import snapshot_download  # half a second that bundled models need not pay
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.jinja", "*.txt", "*.model"] + (["*.safetensors"] if weights else [])
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"model: cannot get {name!r} from the hub ({reason})",
            "check the name and the network, or download the model and name its folder",
        ) from error
    if not (folder / "config.json").is_file():
        raise UserError(
            f"model: the hub model {name!r} holds no config.json",
            "name a transformers image-text-to-text model",
        )
    return folder
