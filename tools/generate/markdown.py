"""Markdown as GitHub reads it: escapes, tables, links to headings."""

import re
from collections.abc import Sequence

_CODE_SPAN = re.compile(r"(`[^`]+`)")
# An underscore within a word never marks emphasis, and names are full of them.
_SPECIAL = re.compile(r"[\\`*<\[\]|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def escape(text: str) -> str:
    """Text for one line: code spans stay code, every other special character is escaped."""
    parts = _CODE_SPAN.split(text)
    parts[::2] = [_SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    return "".join(parts)


def code(value: object) -> str:
    """A value as code, in a table too."""
    text = str(value).replace("|", "\\|")
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown cells without its empty columns."""
    kept = [number for number in range(len(header)) if any(row[number] for row in rows)]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line[number] for number in kept) + " |" for line in lines)


def link(text: str, heading: str) -> str:
    """A link to a heading of the same page."""
    return f"[{text}](#{anchor(heading)})"


def anchor(heading: str) -> str:
    """The anchor that GitHub gives to the first heading of this name."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
