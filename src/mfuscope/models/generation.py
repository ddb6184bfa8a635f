"""What generation takes of a model's own generation_config.json: its special tokens, nothing else.

The rest would change what is measured (guidance makes two forwards of each step, prompt lookup
makes none of some, a static cache pads) or end generation by the clock.
"""

from pathlib import Path
from typing import Any, Final

from mfuscope.core.errors import UserError
from mfuscope.models.files import read_json
from mfuscope.models.sizes import is_whole, shown

_FILE = "generation_config.json"
TOKENS: Final = ("bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id")
# What says nothing about generation.
_BOOKKEEPING = ("_from_model_config", "transformers_version")
# What is measured anyway (`measure.session`): greedily, with a KV cache.
_USUAL = {"do_sample": False, "num_beams": 1, "use_cache": True}


def left_out(folder: Path) -> list[str]:
    """Names of what a folder's generation_config.json asks for and what is left out, sorted.

    Raises:
        UserError: the file cannot be read.
    """
    return sorted(
        name
        for name, value in _stated(folder).items()
        if name not in (*TOKENS, *_BOOKKEEPING)
        and value is not None
        and not (name in _USUAL and value == _USUAL[name])
    )


def clean_generation_config(config: Any, folder: Path) -> Any:
    """transformers' own defaults, with the special tokens of a model.

    Args:
        config: the model's config, for tokens that generation_config.json does not state.

    Raises:
        UserError: the file cannot be read, or names what is no token.
    """
    from transformers import GenerationConfig

    own, stated = GenerationConfig.from_model_config(config), _stated(folder)
    tokens = {name: stated.get(name, getattr(own, name)) for name in TOKENS}
    for name, value in tokens.items():
        several = value if isinstance(value, list) else [value]
        if value is not None and not all(is_whole(one) and one >= 0 for one in several):
            raise UserError(
                f"model: {name} in {str(folder / _FILE)!r} is {shown(value)}, no token's number",
                f"correct or restore its {_FILE}",
            )
    return GenerationConfig(**tokens)


def _stated(folder: Path) -> dict[str, Any]:
    path = folder / _FILE
    return read_json(path) if path.is_file() else {}
