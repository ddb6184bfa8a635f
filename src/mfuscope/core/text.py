"""Escapes control characters in text for a terminal.

A file's name may hold escape sequences, which could rewrite earlier lines or hide later ones.
"""


def one_line(text: str) -> str:
    """Text in one line; unprintable characters become Python escapes, e.g. ``\\x1b``."""
    return "".join(map(_seen, text))


def lines(text: str) -> str:
    """As `one_line`, but newlines and tabs stay."""
    return "".join(c if c in "\n\t" else _seen(c) for c in text)


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
