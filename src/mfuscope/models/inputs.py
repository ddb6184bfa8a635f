"""From a page to the model's input tensors: preprocessing and tokenization on the host.

Both lie outside of prefill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from mfuscope.core.errors import UserError
from mfuscope.core.prompts import Prompt
from mfuscope.models.decoder_prompt import decoder_prompt
from mfuscope.models.families import Family
from mfuscope.models.geometry import Geometry, parse_resolution
from mfuscope.models.packages import missing_package
from mfuscope.models.processor import load_processor, offline
from mfuscope.models.prompt import decoder_of, instruction_tokens
from mfuscope.models.prompt_record import prompt_of
from mfuscope.models.shapes import native_resolution
from mfuscope.models.spec import ModelSpec
from mfuscope.models.template import NOTES, prompt_text
from mfuscope.models.views import make_views


@dataclass(frozen=True, slots=True)
class PageInputs:
    """A page as input of ``generate``.

    Attributes:
        tensors: keyword arguments of ``generate``; tensors on the device, in the model's dtype.
        prompt_tokens: length of the prompt that the first new token follows, image tokens included;
            of an encoder-decoder, of its decoder's prompt.
        image_tokens: how many of them are image tokens, None if the config does not name them.
        resolution: canonical resolution.
        absent: name of each value that is missing -> the reason.
    """

    tensors: dict[str, Any]
    prompt_tokens: int
    image_tokens: int | None
    resolution: str
    absent: dict[str, str] = field(default_factory=dict)

    def batch(self, copies: int) -> dict[str, Any]:
        """The keyword arguments of ``generate`` for so many copies of the page.

        Every input of a page, also one that holds its tiles, is repeated along its first
        dimension; lists have an entry per page or tile.
        """
        if copies == 1:
            return self.tensors
        return {
            name: torch.cat([value] * copies) if isinstance(value, torch.Tensor) else value * copies
            for name, value in self.tensors.items()
        }


class InputMaker(Protocol):
    """Makes model inputs of pages."""

    def make(
        self, page: Image.Image, mode: str, device: torch.device, dtype: torch.dtype
    ) -> PageInputs:
        """Preprocess and tokenize an RGB page in a resolution mode, and copy it to `device`."""
        ...

    def blank(
        self,
        resolution: str,
        device: torch.device,
        dtype: torch.dtype,
        size: tuple[int, int] | None = None,
    ) -> PageInputs:
        """Inputs of an empty page of a canonical resolution, of the same shapes and length.

        Args:
            size: width and height in pixels of a page of that resolution; a generic model's
                processor needs it, of other models the resolution itself has the shapes.

        Raises:
            UserError: a page of that size is of another resolution.
        """
        ...

    def prompt(self, page: PageInputs) -> Prompt:
        """The prompt of a page that was made, as text."""
        ...


def input_maker(spec: ModelSpec, folder: Path, prompt: str, config: Any) -> InputMaker:
    """The input maker of a model.

    Args:
        folder: the folder of tokenizer and processor.
        prompt: the instruction after the image.
        config: the model's config.
    """
    if spec.family is Family.GENERIC:
        return ProcessorInputs(spec, folder, prompt, config)
    return DeepSeekInputs(spec, folder, prompt, config)


class DeepSeekInputs:
    """Inputs of the DeepSeek-OCR family: our preprocessing and the model's own tokenizer."""

    def __init__(self, spec: ModelSpec, folder: Path, prompt: str, config: Any) -> None:
        self._spec, self._folder = spec, folder
        self._image_token = config.image_token_id
        # The published plain template: begin of sequence, image, line break, instruction.
        self._before = [config.text_config.bos_token_id]
        self._after = instruction_tokens(folder, prompt)
        self._check_tokens(config.text_config.vocab_size)

    def _check_tokens(self, vocabulary: int) -> None:
        # On a GPU, the embedding would fail with an assertion that names no token.
        for token in (*self._before, self._image_token, *self._after):
            if not (isinstance(token, int) and 0 <= token < vocabulary):
                raise UserError(
                    f"model: {token!r} is no token of {self._spec.name!r}, whose vocabulary has "
                    f"{vocabulary}",
                    "use the tokenizer.json and config.json of the same model",
                )
        if self._image_token in self._after:
            raise UserError(
                "prompt: it holds the mark of the image, which is put before it automatically",
                "remove the mark from `prompt`",
            )

    def make(
        self, page: Image.Image, mode: str, device: torch.device, dtype: torch.dtype
    ) -> PageInputs:
        """See `InputMaker`."""
        geometry = self._spec.geometry(*page.size, mode)
        assert geometry is not None, "every DeepSeek family has a tiling"
        views = make_views(page, geometry)
        base = torch.from_numpy(views.base).to(device, dtype)
        tiles = None
        if views.tiles is not None:
            tiles = torch.from_numpy(views.tiles).to(device, dtype)
        return self._inputs(base, tiles, geometry)

    def blank(
        self,
        resolution: str,
        device: torch.device,
        dtype: torch.dtype,
        size: tuple[int, int] | None = None,
    ) -> PageInputs:
        """See `InputMaker`."""
        geometry = parse_resolution(resolution)
        side, tile = geometry.base_size, geometry.tile_size
        base = torch.zeros(1, 3, side, side, device=device, dtype=dtype)
        tiles = None
        if geometry.tiles:
            tiles = torch.zeros(geometry.tiles, 3, tile, tile, device=device, dtype=dtype)
        return self._inputs(base, tiles, geometry)

    def prompt(self, page: PageInputs) -> Prompt:
        """See `InputMaker`."""
        return prompt_of(page.tensors, self._image_token, self._decode)

    @cached_property
    def _decode(self) -> Callable[[Sequence[int]], str]:
        return decoder_of(self._folder)

    def token_counts(self, geometry: Geometry) -> tuple[int, int]:
        """Number of tokens of the whole prompt, and how many of them are image tokens."""
        count = self._spec.image_tokens(geometry)
        return len(self._before) + count + len(self._after), count

    def _inputs(
        self, base: torch.Tensor, tiles: torch.Tensor | None, geometry: Geometry
    ) -> PageInputs:
        tensors: dict[str, Any] = {"pixel_values": base, "num_local_patches": [geometry.tiles]}
        if tiles is not None:
            tensors["pixel_values_local"] = tiles
        if self._spec.family is not Family.DEEPSEEK_OCR_2:
            grid = [geometry.columns, geometry.rows] if geometry.tiles else [1, 1]
            tensors["patches_grid"] = [grid]
        count = self._spec.image_tokens(geometry)
        ids = self._before + [self._image_token] * count + self._after
        tensors["input_ids"] = torch.tensor([ids], device=base.device)
        tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
        return PageInputs(tensors, len(ids), count, geometry.resolution)


class ProcessorInputs:
    """Inputs of a generic model: its own processor and chat template."""

    def __init__(self, spec: ModelSpec, folder: Path, prompt: str, config: Any) -> None:
        self._spec = spec
        self._processor = load_processor(folder, spec.name)
        self._image_token = getattr(
            config, "image_token_id", getattr(config, "image_token_index", None)
        )
        self._prompt = prompt_text(self._processor, prompt, spec.name)
        self._decoder = decoder_prompt(config, folder, spec.name)

    def make(
        self, page: Image.Image, mode: str, device: torch.device, dtype: torch.dtype
    ) -> PageInputs:
        """See `InputMaker`."""
        options = {"add_special_tokens": False} if self._prompt.begins else {}
        try:
            with offline():
                batch = self._processor(
                    images=[page], text=[self._prompt.text], return_tensors="pt", **options
                )
        except ImportError as error:
            raise missing_package(f"the processor of {self._spec.name!r}", error) from error
        tensors = dict(batch.to(device, dtype))  # casts floating-point tensors only
        tensors.pop("labels", None)  # for training
        resolution = native_resolution(tensors)
        if self._decoder is not None:
            tensors = self._decoder.place(tensors)
            absent = {"image_tokens": "the encoder reads the page; the decoder's prompt is text"}
            tokens = tensors["decoder_input_ids"].shape[1]
            return PageInputs(tensors, tokens, None, resolution, absent)
        ids = tensors["input_ids"]
        known = self._image_token is not None
        return PageInputs(
            tensors=tensors,
            prompt_tokens=ids.shape[1],
            image_tokens=int((ids == self._image_token).sum()) if known else None,
            resolution=resolution,
            absent={} if known else {"image_tokens": "the config names no image token"},
        )

    def blank(
        self,
        resolution: str,
        device: torch.device,
        dtype: torch.dtype,
        size: tuple[int, int] | None = None,
    ) -> PageInputs:
        """See `InputMaker`."""
        assert size is not None, "planning knows a size of every generic resolution"
        page = self.make(Image.new("RGB", size, "white"), "auto", device, dtype)
        if page.resolution != resolution:
            raise UserError(
                f"model: the processor of {self._spec.name!r} makes {page.resolution} of a page of "
                f"{size[0]}x{size[1]} pixels, and made {resolution} of it at planning",
                "run the same command again with the same packages on every node",
            )
        return page

    def has_place_for_page(self, page: PageInputs) -> bool:
        """Whether the tokens of a prompt tell where the page is, or an encoder reads it.

        Without, the page's features are no part of the context that is counted.

        Args:
            page: what was made of any page.
        """
        if self._decoder is not None:
            return True
        return (
            self._prompt.source != "alone" if page.image_tokens is None else page.image_tokens > 0
        )

    def note(self, page: PageInputs) -> str | None:
        """What a user should know of how the prompt is made; None if it is the usual way.

        Args:
            page: what was made of any page.
        """
        if self._decoder is None or self._decoder.encoder_reads_text:
            return NOTES[self._prompt.source]
        if page.prompt_tokens == 1:
            return "no token of `prompt` reaches its decoder, which begins with its start token"
        return "its decoder begins with `prompt`, and new tokens follow"

    def prompt(self, page: PageInputs) -> Prompt:
        """See `InputMaker`."""
        decode = partial(
            self._processor.tokenizer.decode,
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )
        return prompt_of(page.tensors, self._image_token, decode)
