"""What the decoder of an encoder-decoder begins with.

The encoder reads the page. `prompt` goes to the encoder beside it (Florence-2), or begins the
decoder's own text (Donut), or has no place (TrOCR). The decoder's prompt is what its first forward
takes, the start token included; new tokens follow it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mfuscope.core.errors import UserError
from mfuscope.models.generation import clean_generation_config
from mfuscope.models.sizes import is_whole


@dataclass(frozen=True, slots=True)
class DecoderPrompt:
    """How an encoder-decoder takes a text.

    Attributes:
        start: the token that a decoder's text begins with.
        encoder_reads_text: whether the text is the encoder's, as the page is.
        own_start: whether a text brings its own start token, as Donut's tasks do.
    """

    start: int
    encoder_reads_text: bool
    own_start: bool

    def place(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments of ``generate``, with the decoder's prompt as one of them.

        Args:
            tensors: what a processor made of a page and a text.

        Returns:
            With ``decoder_input_ids`` of shape (1, tokens). A mask of the text is left out, as one
            text needs no padding.
        """
        tensors, ids = dict(tensors), None
        if not self.encoder_reads_text:
            ids = tensors.pop("decoder_input_ids", None)
            tensors.pop("decoder_attention_mask", None)
            if "input_ids" in tensors:
                ids = tensors.pop("input_ids")
                tensors.pop("attention_mask", None)
                tensors.pop("token_type_ids", None)
        device = next(one.device for one in tensors.values() if isinstance(one, torch.Tensor))
        start = torch.tensor([[self.start]], device=device)
        if ids is None or not ids.numel():
            ids = start
        elif not self.own_start and int(ids[0, 0]) != self.start:
            ids = torch.cat([start, ids], dim=1)
        return tensors | {"decoder_input_ids": ids}


def decoder_prompt(config: Any, folder: Path, name: str) -> DecoderPrompt | None:
    """How a model's decoder is prompted; None for a model without an encoder of texts or pages.

    Args:
        config: the model's config.
        folder: the folder of its generation_config.json, if it has one.
        name: the model as the user named it, for messages.

    Raises:
        UserError: nothing says what its decoder begins with.
    """
    if not getattr(config, "is_encoder_decoder", False):
        return None
    from transformers import AutoModelForImageTextToText

    model_class = AutoModelForImageTextToText._model_mapping[type(config)]
    own = clean_generation_config(config, folder)
    # generate()'s own rule.
    start = own.bos_token_id if own.decoder_start_token_id is None else own.decoder_start_token_id
    if not is_whole(start):
        raise UserError(
            f"model: nothing in {name!r} says which token its decoder begins with",
            "add `decoder_start_token_id` to its generation_config.json",
        )
    # As transformers tells them apart (`_prepare_decoder_input_ids_for_generation`).
    encoder_type = getattr(getattr(config, "encoder", None), "model_type", "")
    return DecoderPrompt(
        start=start,
        encoder_reads_text=model_class.main_input_name == "input_ids",
        own_start="donut" in encoder_type,
    )
