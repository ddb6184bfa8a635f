"""The text of a generic model's prompt: its own chat template, filled with a page and `prompt`."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import jinja2
from PIL import Image

from mfuscope.core.errors import UserError
from mfuscope.core.text import reason

Source = Literal["processor", "tokenizer", "layout", "alone", "none"]

#: What a user should know of a prompt from each source; nothing of the usual one.
NOTES: Final[dict[Source, str | None]] = {
    "processor": None,
    "tokenizer": "the prompt comes from the chat template of the tokenizer",
    "layout": "no chat template: its processor puts the image and `prompt` together",
    "alone": "no chat template and no mark of an image: the prompt is `prompt` alone",
    "none": "no chat template: the prompt is the mark of the image, a line break and `prompt`",
}


# What templates raise that expect other parts of a turn.
_UNFILLED = (jinja2.TemplateError, TypeError, ValueError, LookupError)


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt before it is tokenized.

    Attributes:
        text: with the marks that the processor replaces by image tokens.
        source: where its template comes from.
        begins: whether it brings the begin of sequence, so that the tokenizer must add none.
    """

    text: str
    source: Source
    begins: bool


def prompt_text(processor: Any, prompt: str, name: str) -> PromptText:
    """One user's turn with an image and an instruction, up to where the model answers.

    Args:
        processor: of transformers.
        prompt: the instruction.
        name: the model as the user named it, for messages.

    Raises:
        UserError: the template cannot be filled with an image and a text.
    """
    template, source = _template(processor)
    mark: str | None = getattr(processor, "image_token", None)
    if template is not None:
        text = _filled(processor, template, mark, prompt, name)
    elif mark is None:
        text, source = prompt, "alone"
    elif _puts_mark(processor, mark):
        text, source = prompt, "layout"
    else:
        text = f"{mark}\n{prompt}"
    begin = getattr(processor.tokenizer, "bos_token", None)
    return PromptText(text, source, begins=begin is not None and text.startswith(begin))


def _template(processor: Any) -> tuple[str | None, Source]:
    own = processor.chat_template
    if isinstance(own, dict):  # several, by name
        own = own.get("default")
    if own:
        return own, "processor"
    if getattr(processor.tokenizer, "chat_template", None):
        return processor.tokenizer.get_chat_template(), "tokenizer"
    return None, "none"


def _puts_mark(processor: Any, mark: str) -> bool:
    """Whether a processor puts the mark of an image into a text that has it already."""
    page = Image.new("RGB", (56, 56))
    usual = processor._merge_kwargs(tokenizer_init_kwargs=processor.tokenizer.init_kwargs)
    _, texts, *_ = processor.prepare_inputs_layout(images=[page], text=[mark], **usual)
    return bool(texts[0].count(mark) > 1)


def _filled(processor: Any, template: str, mark: str | None, prompt: str, name: str) -> str:
    """The filled template. Templates for text alone get the image's mark as a part of the text."""

    def fill(content: Any) -> str:
        turn = [{"role": "user", "content": content}]
        text: str = processor.apply_chat_template(
            turn, chat_template=template, add_generation_prompt=True
        )
        return text

    words = {"type": "text", "text": prompt}
    why = "it puts nothing where the image belongs"
    try:
        # The processor may know the image by another mark than the one that it puts in its place.
        if (text := fill([{"type": "image"}, words])) != fill([words]):
            return text
    except _UNFILLED as error:
        why = reason(error)
    try:
        if mark is not None and mark in (text := fill(f"{mark}\n{prompt}")):
            return text
    except _UNFILLED as error:
        why = reason(error)
    raise UserError(
        f"model: the chat template of {name!r} cannot be filled with an image and a text ({why})",
        "correct or restore its chat_template.jinja or tokenizer_config.json",
    )
