"""The colours of figures: one meaning each, the same in CSS, and seen by everyone."""

import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pytest
from report_data import distinct, repeats, tables

import mfuscope.report
from mfuscope.report.bars import bars
from mfuscope.report.figures import PAINTERS
from mfuscope.report.figures.looks import looks
from mfuscope.report.figures.style import COLOURS, DARK, LIGHT, drawing
from mfuscope.report.wording import CENTRES

TEMPLATES = Path(mfuscope.report.__file__).with_name("templates")
CSS = "".join((TEMPLATES / name).read_text() for name in ("report.css", "figures.css"))
#: Backgrounds of marks, and what is no mark.
GROUNDS = ("surface", "raised")
QUIET = (*GROUNDS, "line")
MARKS = [name for name in LIGHT if name not in QUIET]
SCHEMES = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio by WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def variables(css: str, medium: str) -> dict[str, str]:
    """Colour variables that CSS sets for a medium; empty for what holds everywhere."""
    found: dict[str, str] = {}
    for media, block in re.findall(r"(?:@media ([^{]*) \{\s*)?:root \{([^}]*)\}", css):
        if medium in media if medium else not media:
            found |= re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", block)
    return found


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@SCHEMES
def test_every_mark_stands_out_from_its_background(colours: Mapping[str, str]) -> None:
    weak = {
        (name, ground): round(found, 2)
        for name in MARKS
        for ground in GROUNDS
        if (found := contrast(colours[name], colours[ground])) < 3
    }
    assert weak == {}


@SCHEMES
def test_a_colour_has_one_meaning(colours: Mapping[str, str]) -> None:
    def distance(one: str, other: str) -> int:
        pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
        return sum(abs(a - b) for a, b in pairs)

    alike = [
        (one, other)
        for one, other in combinations(colours, 2)
        if distance(colours[one], colours[other]) < (30 if one in MARKS and other in MARKS else 1)
    ]
    assert alike == []
    assert colours.keys() == LIGHT.keys()


def test_pages_have_the_colours_of_the_figures() -> None:
    light, dark, printed = (variables(CSS, medium) for medium in ("", "dark", "print"))
    assert {name: light[name] for name in LIGHT} == LIGHT
    assert {name: dark[name] for name in DARK} == DARK
    assert printed["surface"] == "#fff"
    assert not set(MARKS) - {"ink", "muted"} & set(printed)  # those of the light scheme


def test_what_bars_show_has_a_colour_of_its_own() -> None:
    assert set(CENTRES) <= set(LIGHT)
    used = {key for key, _ in bars(tables(repeats()).data).legend}
    assert used == {"vision", "projector", "language", "rest", "decode"}
    for key in CENTRES:
        assert f".{key} {{ fill: var(--{key}); color: var(--{key}); }}" in CSS


def test_figures_use_these_colours_on_a_background_of_their_own_and_nothing_faint() -> None:
    _, made = distinct()
    for name, paint in PAINTERS.items():
        svg = drawing(name, made.data, paint, inline=False).wide
        ground = re.search(r'<g id="patch_1">\s*<path d="[^"]*"\s*style="([^"]*)"', svg)
        assert ground is not None, name
        assert f"fill: {LIGHT['surface']}" in ground[1], name
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= set(COLOURS.values()), name
        for style in re.findall(r'style="([^"]*)"', svg):
            # What is filled faintly has an edge of full strength, or lines of their own around it.
            assert not re.search(r"(?<!fill-)opacity: 0?\.", style), (name, style)
        for style in re.findall(r'<text[^>]*style="([^"]*)"', svg):
            for colour in re.findall(r"fill: (#[0-9a-f]{6})", style):
                (meaning,) = (key for key, value in COLOURS.items() if value == colour)
                assert contrast(LIGHT[meaning], LIGHT["surface"]) >= 4.5, (name, meaning)
                assert contrast(DARK[meaning], DARK["surface"]) >= 4.5, (name, meaning)


def test_variants_differ_without_colour() -> None:
    runs = [made for n in range(7) for made in repeats(2, variant=f"v{n}")]
    found = looks(tables(runs).data)
    assert len({look.marker for look in found.values()}) == 7
    assert len({look.dashes for look in found.values()}) == 7
    assert found["v0"].colour == COLOURS["reference"]
    assert {look.colour for name, look in found.items() if name != "v0"} == {COLOURS["other"]}
