"""The text of the tokens that a model is given for a page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mfuscope.core.prompts import Prompt


def prompt_of(
    tensors: Mapping[str, Any], image_token: int | None, decode: Callable[[Sequence[int]], str]
) -> Prompt:
    """The prompt in the inputs of ``generate``.

    Args:
        tensors: of one page.
        image_token: the id of the token that stands for the page, None if the config names none.
        decode: the text of token ids, special tokens included.
    """
    decoder = _ids(tensors, "decoder_input_ids")
    ids = _ids(tensors, "input_ids")
    if ids is None:
        return Prompt(before=decode(decoder or []))
    start = None if decoder is None else decode(decoder)
    if image_token not in ids:
        return Prompt(before=decode(ids), decoder=start)
    assert image_token is not None
    first, images = ids.index(image_token), ids.count(image_token)
    last = len(ids) - ids[::-1].index(image_token)
    return Prompt(
        before=decode(ids[:first]),
        image=decode([image_token]),
        images=images,
        between=last - first - images,
        after=decode(ids[last:]),
        decoder=start,
    )


def _ids(tensors: Mapping[str, Any], name: str) -> list[int] | None:
    found = tensors.get(name)
    return [int(one) for one in found[0]] if isinstance(found, torch.Tensor) else None
