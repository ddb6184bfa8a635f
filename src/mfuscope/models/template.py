"""The text of a generic model's prompt: its own chat template, filled with a page and `prompt`."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import jinja2

from mfuscope.core.errors import UserError

Source = Literal["processor", "tokenizer", "none"]

#: What a user should know of a prompt from each source; nothing of the usual one.
NOTES: Final[dict[Source, str | None]] = {
    "processor": None,
    "tokenizer": "the prompt comes from the chat template of the tokenizer",
    "none": "no chat template: the prompt is the mark of the image, a line break and `prompt`",
}


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
    mark = getattr(processor, "image_token", None)
    if template is None:
        text = prompt if mark is None else f"{mark}\n{prompt}"
    else:
        text = _filled(processor, template, mark, prompt, name)
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


def _filled(processor: Any, template: str, mark: str | None, prompt: str, name: str) -> str:
    """The filled template. Templates for text alone get the image's mark as a part of the text."""
    parts: list[Any] = [[{"type": "image"}, {"type": "text", "text": prompt}]]
    if mark is not None:
        parts.append(f"{mark}\n{prompt}")
    reason = f"it puts no {mark} where the image belongs"
    for content in parts:
        try:
            text: str = processor.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=template,
                add_generation_prompt=True,
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
            reason = " ".join(str(error).split())
            continue
        if mark is None or mark in text:
            return text
    raise UserError(
        f"model: the chat template of {name!r} cannot be filled with an image and a text "
        f"({reason})",
        "correct or restore its chat_template.jinja or tokenizer_config.json",
    )
