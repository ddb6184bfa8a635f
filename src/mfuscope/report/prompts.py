"""The prompts that the models got, as text."""

from collections.abc import Iterable
from dataclasses import replace

from mfuscope.core.records import Prompt
from mfuscope.core.text import one_line
from mfuscope.report.cells import Cell, Table, absent, amount, build, label
from mfuscope.report.data import ReportData
from mfuscope.report.formats import shortened

_ENCODED = "the encoder reads them; the tokens are those that the decoder begins with"
_NO_MARK = "the config names no token that stands for the page"
#: Characters of a prompt that are shown: of longer ones the beginning and the end.
_MOST = 600


def prompts(data: ReportData) -> Table:
    """Each variant's prompts as the model gets them, those of all its resolutions in one row."""
    return build(
        "The prompt as the model gets it, special tokens included",
        ("Variant", "Prompt", "Text tokens", "Image tokens"),
        (
            (label(variant), label(shortened(_text(alike), _MOST)), *_tokens(alike))
            for variant, found in data.survey.prompts.items()
            for alike in _alike(found.items())
        ),
    )


def _alike(found: Iterable[tuple[Prompt, int]]) -> list[list[tuple[Prompt, int]]]:
    """Prompts that differ in the number of their image tokens alone, with their own."""
    groups: dict[Prompt, list[tuple[Prompt, int]]] = {}
    for prompt, tokens in found:
        groups.setdefault(replace(prompt, images=0, between=0), []).append((prompt, tokens))
    return list(groups.values())


def _text(alike: list[tuple[Prompt, int]]) -> str:
    first = alike[0][0]
    page = ""
    if first.image is not None:
        page = f"{one_line(first.image)} × {_range(one.images for one, _ in alike)}"
        if any(one.between for one, _ in alike):
            page += f" (and {_range(one.between for one, _ in alike)} other tokens between)"
    text = f"{one_line(first.before)}{page}{one_line(first.after)}"
    return text if first.decoder is None else f"{text} → {one_line(first.decoder)}"


def _tokens(alike: list[tuple[Prompt, int]]) -> tuple[Cell, Cell]:
    """Text tokens and image tokens."""
    first = alike[0][0]
    if first.decoder is not None:
        return amount(_range(tokens for _, tokens in alike)), absent(_ENCODED)
    text = amount(_range(tokens - one.images for one, tokens in alike))
    if first.image is None:
        return text, absent(_NO_MARK)
    return text, amount(_range(one.images for one, _ in alike))


def _range(counts: Iterable[int]) -> str:
    found = sorted(counts)
    least, most = found[0], found[-1]
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
