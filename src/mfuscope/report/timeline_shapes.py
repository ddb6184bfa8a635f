"""A timeline's events as shapes, at a zoom that shows the whole step.

timeline.js draws the same shapes at any zoom. An event of some pixels is a box. What is shorter is
added up pixel by pixel: the height of a pixel's bar is the share of its time that events take, and
at least one pixel where there is an event, so that a device that is busy for a tenth of the time
looks so.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfuscope.core.timelines import TICK_US, Track
from mfuscope.report.formats import printable
from mfuscope.traces.sequence import function_name

#: Width of the drawing without JavaScript, in px, and the px that are added up.
WIDTH: Final = 1120
_BUCKET: Final = 7
#: An event from this width on is a box; from this on its name is in it, at so many px a letter.
BOX, NAMED, LETTER = 6, 34, 6.2

#: Kinds of operators and kernels, in the order of the bars' parts, as the legend calls them.
KINDS: Final = {
    "product": "matrix products",
    "attention": "attention",
    "elementwise": "element-wise, reductions",
    "copy": "gather and copy",
    "plain": "other",
    "wait": "",  # gaps have rows of their own, with labels
}
# The first that is found in a name decides; Inductor's names list what a kernel fuses.
_PATTERNS: Final = (
    ("elementwise", r"triton_(poi|per|red)_"),
    ("attention", r"flash|fmha|sdpa|attention|\bmha"),
    (
        "product",
        r"gemm|gemv|nvjet|cutlass|cublas|xmma|splitk|dot_kernel|reduce_1Block|convolution|conv\dd|"
        r"::_?(mm|bmm|addmm|baddbmm|matmul|linear|einsum|grouped_mm|_grouped_mm|mv|dot)$",
    ),
    (
        "copy",
        r"memcpy|memset|gather|scatter|index|copy|CatArray|embedding|"
        r"::(cat|stack|to|clone|contiguous|repeat|repeat_interleave|fill_|zero_)$",
    ),
    (
        "elementwise",
        r"elementwise|vectorized|reduce|softmax|norm|sigmoid|dropout|"
        r"::(add|sub|rsub|mul|div|neg|exp|log|pow|sqrt|rsqrt|mean|sum|prod|cumsum|silu|gelu|relu|"
        r"tanh|cos|sin|where|masked_fill|clamp|max|min|maximum|minimum|any|all|eq|ne|lt|le|gt|ge|"
        r"(bitwise|logical)_\w+|floor_divide|remainder|abs)_?$",
    ),
)
# A mangled symbol, or one with arguments; a label that a framework gave to a region has spaces.
_FUNCTION: Final = re.compile(r"^_Z|^(void )?[^ (<]*[(<]|^void ")
_SCOPES: Final = re.compile(r"^void |at::native::|\(anonymous namespace\)::|<unnamed>::")
_LONGEST: Final = 80


def kind_of(name: str) -> str:
    """The kind of an operator, call or kernel, by its name alone."""
    found = (kind for kind, pattern in _PATTERNS if re.search(pattern, name, re.IGNORECASE))
    return next(found, "plain")


def short_name(name: str) -> str:
    """A name for a box: of an operator without ``aten::``, of a C++ function the function alone."""
    is_function = _FUNCTION.search(name) is not None
    return printable(function_name(name) if is_function else name.removeprefix("aten::"))


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """The events of a track: start and end in ticks from the begin of the step, index of the name.

    They may overlap where the trace is odd; then the gap before one is negative.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    name: NDArray[np.int64]


def events(track: Track) -> Events:
    """Decode a track."""
    gap, length, name = np.array(track.events.split(), dtype=np.int64).reshape(-1, 3).T
    end = np.cumsum(gap + length)
    return Events(end - length, end, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An event that is wide enough to point at: px from the left, its name as far as it fits."""

    x: float
    width: float
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """The shapes of a row: SVG paths by kind, the tallest first, and the boxes."""

    paths: Mapping[str, str]
    boxes: tuple[Box, ...]


def shapes(
    found: Events, names: list[str], kinds: list[str], span: float, height: int, top: int
) -> Shapes:
    """Draw a row.

    Args:
        names: as a reader is shown them.
        kinds: of each name.
        span: ticks of the whole width.
        height, top: of the row in px.
    """
    scale = WIDTH / span
    left, right = found.start * scale, found.end * scale
    wide = right - left >= BOX
    kind = np.array([list(KINDS).index(one) for one in kinds], dtype=np.int64)[found.name]
    paths: dict[str, str] = {}
    under = np.zeros(WIDTH // _BUCKET)
    for number, key in enumerate(KINDS):
        mine = kind == number
        path = "".join(
            f"M{x:.1f} {top}h{w:.1f}v{height}h-{w:.1f}z"
            for x, w in zip(
                left[mine & wide].tolist(), (right - left)[mine & wide].tolist(), strict=True
            )
        )
        small = mine & ~wide
        if small.any():
            under = under + _shares(left[small], right[small])
            path += _bars(under, height, top)
        if path:
            paths[key] = path
    boxes = tuple(
        _box(float(left[i]), float(right[i]), int(found.end[i] - found.start[i]), name)
        for i, name in ((i, names[found.name[i]]) for i in np.flatnonzero(wide).tolist())
    )
    return Shapes(paths=dict(reversed(paths.items())), boxes=boxes)


def shown_name(name: str) -> str:
    """A name as a reader is shown it: without what all of PyTorch's kernels have in it."""
    short = _SCOPES.sub("", printable(name))
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 1]}…"


def duration(ticks: float) -> str:
    """A time in ticks, in µs or ms."""
    us = ticks * TICK_US
    return f"{us / 1000:.2f} ms" if us >= 1000 else f"{us:.1f} µs"


def _box(left: float, right: float, ticks: int, name: str) -> Box:
    letters = int((right - left - 4) / LETTER) if right - left >= NAMED else 0
    text = short_name(name)
    cut = text if len(text) <= letters else f"{text[: letters - 1]}…" if letters else ""
    return Box(x=left, width=right - left, title=f"{name}, {duration(ticks)}", text=cut)


def _shares(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each bucket that lies within the intervals."""
    edges = np.arange(WIDTH // _BUCKET + 1) * float(_BUCKET)
    before = np.clip(edges[:, None], left, right) - left  # ns of each interval before each edge
    share: NDArray[np.float64] = np.diff(before.sum(axis=1)) / _BUCKET
    return share


def _bars(share: NDArray[np.float64], height: int, top: int) -> str:
    """Bars that stand side by side as one path."""
    tall = np.ceil(np.clip(share, 0, 1) * height - 1e-9).astype(np.int64)
    return "".join(_runs(tall.tolist(), height, top))


def _runs(tall: list[int], height: int, top: int) -> Iterator[str]:
    """Each run of bars: up, along their tops and down again."""
    level = since = 0
    for place, value in enumerate([*tall, 0]):
        if value == level:
            continue
        x = place * _BUCKET
        yield f"h{x - since}" if level else f"M{x} {top + height}"
        yield f"v{level - value}" if value else f"v{level}z"
        level, since = value, x
