"""Whether a page's prompt and its new tokens fit into the positions that a model has."""

from mfuscope.core.errors import UserError
from mfuscope.models.geometry import parse_resolution
from mfuscope.models.prompt import instruction_tokens, most_instruction_tokens
from mfuscope.models.spec import ModelSpec


def check_planned_length(
    spec: ModelSpec, resolution: str, prompt: str, max_new_tokens: int
) -> None:
    """Check a canonical resolution; nothing for a model that planning knows no positions of.

    Raises:
        UserError: there are more tokens than positions, with the figures.
    """
    if spec.positions is None:
        return
    image = 1 + spec.image_tokens(parse_resolution(resolution))  # behind the begin of sequence
    # A tokenizer of megabytes need not be read for what fits in any case.
    if image + most_instruction_tokens(prompt) + max_new_tokens > spec.positions:
        prompt_tokens = image + len(instruction_tokens(spec.path, prompt))
        check_length(prompt_tokens, max_new_tokens, spec.positions, spec.name, resolution)


def check_length(
    prompt_tokens: int, max_new_tokens: int, positions: int | None, model: str, resolution: str
) -> None:
    """Check a prompt whose length is known; `positions` is None where the model does not tell.

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
