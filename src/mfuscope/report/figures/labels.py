"""Labels beside what they name: at the ends of lines, and around marks."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.transforms import offset_copy

# In points.
_LINE = 12.5  # height of a line of text
_LETTER = 5.8  # width of a letter
_LEADER = 10.0  # from the axes to the labels at their right
_DISTANCES = (2.0, 7.0, 14.0, 24.0, 40.0)  # from the edge of a mark to its label

_WAYS = ((1, 1), (-1, -1), (1, -1), (-1, 1), (0, 1), (0, -1), (1, 0), (-1, 0))


class End(NamedTuple):
    """The end of a line in the units of its axes, and what the line is called."""

    text: str
    x: float
    y: float
    colour: str


class Mark(NamedTuple):
    """A round mark in the units of its axes; its radius is in points."""

    x: float
    y: float
    radius: float


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def common(self, other: "_Box") -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)


def spaced(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places `gap` or more apart, in the same order, as near to the given ones as can be.

    Nearest by least squares (pooled neighbours). Where not all fit between `low` and `high`, they
    are as far apart as does.
    """
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    order = sorted(range(len(places)), key=lambda i: places[i])
    pools: list[tuple[float, int]] = []  # mean place without the gaps, and number of places
    for rank, i in enumerate(order):
        mean, n = places[i] - rank * gap, 1
        while pools and pools[-1][0] > mean:
            before, more = pools.pop()
            mean, n = (before * more + mean * n) / (more + n), more + n
        pools.append((mean, n))
    end = high - (len(places) - 1) * gap
    flat = [min(max(mean, low), end) for mean, n in pools for _ in range(n)]
    found = dict(zip(order, (at + rank * gap for rank, at in enumerate(flat)), strict=True))
    return [found[i] for i in range(len(places))]


def label_ends(axes: Axes, ends: Sequence[End], height: float, *, lines: int = 1) -> None:
    """Name lines at the right of axes whose limits and scales are final.

    Args:
        height: of the axes, about, in points.
        lines: of each text.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [min(max(float(to_axes.transform((one.x, one.y))[1]), 0.0), 1.0) for one in ends]
    gap = lines * _LINE / height
    highest = max(1 - gap / 2, 0.5)  # the title above may be wider than the axes
    beside_axes = offset_copy(axes.transAxes, axes.get_figure(root=True), x=_LEADER, units="points")
    for one, place in zip(ends, spaced(heights, gap, 0.0, highest), strict=True):
        leader = {"arrowstyle": "-", "color": one.colour, "lw": 1, "shrinkA": 1, "shrinkB": 1}
        axes.annotate(
            one.text,
            (one.x, one.y),
            xytext=(1, place),
            textcoords=beside_axes,
            va="center",
            arrowprops={**leader, "relpos": (0, 0.5)},
            annotation_clip=False,
        )


def label_marks(
    axes: Axes,
    labels: Sequence[tuple[str, Mark, str]],
    marks: Iterable[Mark],
) -> None:
    """Name marks where no mark and no other name lies, as far as there is such a place.

    The figure must be complete but for these labels.

    Args:
        labels: texts, marks and colours.
        marks: all marks.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    points = 72 / figure.dpi

    def box(x: float, y: float, width: float, height: float) -> _Box:
        return _Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    def middle(mark: Mark) -> tuple[float, float]:
        x, y = axes.transData.transform((mark.x, mark.y))
        return float(x) * points, float(y) * points

    frame = axes.get_window_extent()
    room = _Box(*(float(edge) * points for edge in frame.extents))
    taken = [box(*middle(mark), 2 * mark.radius, 2 * mark.radius) for mark in marks]
    for text, mark, colour in labels:
        x, y = middle(mark)
        width, height = len(text) * _LETTER, _LINE - 2
        tried = []
        for distance in _DISTANCES:
            for right, up in _WAYS:
                # Diagonally, the edge of a round mark is nearer than that of its box.
                away = (mark.radius + distance) * (0.75 if right and up else 1.0)
                at = (right * (away + width / 2), up * (away + height / 2))
                place = box(x + at[0], y + at[1], width, height)
                covered = sum(place.common(other) for other in taken)
                outside = width * height - place.common(room)
                tried.append((round(covered + outside, 3), at, place))
        _, offset, place = min(tried, key=lambda one: one[0])  # the first one of the best
        taken.append(place)
        axes.annotate(
            text,
            (mark.x, mark.y),
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            color=colour,
            zorder=5,
            in_layout=False,
        )
