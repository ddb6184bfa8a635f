"""A rendered report as its readers see it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Grid:
    """A table as a browser would read it."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)


class Reader(HTMLParser):
    """Collects tables (row spans filled in) and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.grids: list[Grid] = []
        self.tags: list[str] = []
        self._into: str | None = None
        self._spans: tuple[str, int] = ("", 0)
        self._span = 1
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "table":
            self.grids.append(Grid())
            self._spans = ("", 0)
        elif tag == "tr":
            first, left = self._spans
            self.grids[-1].rows.append([first] if left else [])
            self._spans = (first, max(left - 1, 0))
        elif tag in ("td", "th"):
            self._into = "cell"
            self._span = int(dict(attrs).get("rowspan") or 1)
            self.grids[-1].rows[-1].append("")
        elif tag == "caption":
            self._into = "caption"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "caption"):
            self._into = None
        if tag == "th" and self._span > 1:
            self._spans = (self.grids[-1].rows[-1][-1], self._span - 1)

    def handle_data(self, data: str) -> None:
        if self._into == "cell":
            self.grids[-1].rows[-1][-1] += data
        elif self._into == "caption":
            self.grids[-1].caption += data

    def grid(self, caption: str) -> Grid:
        """The table whose caption starts so."""
        return next(grid for grid in self.grids if grid.caption.startswith(caption))


def section(text: str, title: str) -> str:
    """A section of a Markdown text."""
    return text.split(f"# {title}\n")[1].split("\n#")[0]
