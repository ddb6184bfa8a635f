"""Text for a terminal: control characters are escaped, what libraries say is cut to a line.

A file's name may hold escape sequences, which could rewrite earlier lines or hide later ones.
"""


def one_line(text: str) -> str:
    """Text in one line; unprintable characters become Python escapes, e.g. ``\\x1b``."""
    return "".join(map(_seen, text))


def lines(text: str) -> str:
    """As `one_line`, but newlines and tabs stay."""
    return "".join(c if c in "\n\t" else _seen(c) for c in text)


def reason(error: BaseException, longest: int = 300) -> str:
    """What an error says, in one line of at most `longest` characters; its type if it is silent."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
