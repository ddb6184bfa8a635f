"""Text that a terminal shows and does not obey.

Names of files may hold anything: an escape sequence could rewrite the lines above it, or hide what
follows.
"""


def one_line(text: str) -> str:
    """Text in one line; what cannot be seen is spelt out as Python does it, e.g. ``\\x1b``."""
    return "".join(map(_seen, text))


def lines(text: str) -> str:
    """The same for text that may have several lines, and tabs in them."""
    return "".join(c if c in "\n\t" else _seen(c) for c in text)


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
