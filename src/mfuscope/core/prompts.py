"""The prompt of a page as the model gets it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The text of a prompt's tokens, special tokens included.

    Attributes:
        before: what precedes the page; all of it where no token stands for the page.
        image: the token that stands for the page, None where none does.
        images: how often it does.
        between: other tokens among those, such as the ends of rows of tiles.
        after: what follows the page.
        decoder: what the decoder begins with, of an encoder-decoder whose encoder reads the text;
            None of any other model.
    """

    before: str
    image: str | None = None
    images: int = 0
    between: int = 0
    after: str = ""
    decoder: str | None = None
