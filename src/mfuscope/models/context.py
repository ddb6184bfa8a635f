"""Whether a page's prompt and its new tokens fit into a model's context limit."""

from mfuscope.core.errors import UserError
from mfuscope.models.geometry import parse_resolution
from mfuscope.models.prompt import instruction_tokens, most_instruction_tokens
from mfuscope.models.spec import ModelSpec


def check_planned_context_limit(
    spec: ModelSpec, resolution: str, prompt: str, max_new_tokens: int
) -> None:
    """Check the pages of a canonical resolution without building the model.

    Models whose limit planning cannot know pass (`ModelSpec.positions` is None).

    Raises:
        UserError: there are more tokens than positions, with the figures.
    """
    if spec.positions is None:
        return
    image = 1 + spec.image_tokens(parse_resolution(resolution))  # 1: the begin of sequence
    # The tokenizer's megabytes are read only where the prompt may be too long.
    if image + most_instruction_tokens(prompt) + max_new_tokens > spec.positions:
        prompt_tokens = image + len(instruction_tokens(spec.path, prompt))
        check_context_limit(prompt_tokens, max_new_tokens, spec.positions, spec.name, resolution)


def check_context_limit(
    prompt_tokens: int, max_new_tokens: int, positions: int | None, model: str, resolution: str
) -> None:
    """Check a prompt of known length.

    Args:
        positions: the model's context limit in tokens, None if its config does not state it.

    Raises:
        UserError: there are more tokens than positions, with the figures.
    """
    if positions is None or prompt_tokens + max_new_tokens <= positions:
        return
    room = positions - prompt_tokens
    raise UserError(
        f"max_new_tokens: {max_new_tokens} after a prompt of {prompt_tokens} (a page at "
        f"{resolution} and the instruction) are {prompt_tokens + max_new_tokens} tokens, and "
        f"{model!r} has {positions} positions",
        (f"set `max_new_tokens` to {room} at most, or " if room > 0 else "set ")
        + "a smaller `resolution` or a shorter `prompt`",
    )
