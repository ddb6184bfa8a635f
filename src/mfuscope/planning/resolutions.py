"""Which resolution a generic model's processor makes of which page size.

The processor itself is asked, once for each size, with an empty page. A variant's file among the
results keeps the answers, so that jobs and later calls need no processor: importing one takes
seconds.
"""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from mfuscope.core.errors import InvalidFileError, UserError
from mfuscope.models.geometry import NATIVE
from mfuscope.models.spec import ModelSpec
from mfuscope.storage.artefacts import read_json, write_json
from mfuscope.storage.paths import sizes_path

Size = tuple[int, int]
_PACKAGES: Final = ("transformers", "tokenizers", "pillow", "numpy")


class PageSizes(msgspec.Struct, frozen=True):
    """What a variant's file holds.

    Attributes:
        of: what decides the resolutions beside the sizes.
        resolutions: ``WIDTHxHEIGHT`` in pixels -> resolution, in the order in which they came.
    """

    of: list[str]
    resolutions: dict[str, str]


class NativeResolutions:
    """The resolutions of a generic model's pages, by their sizes."""

    def __init__(self, spec: ModelSpec, prompt: str, path: Path | None) -> None:
        """Read what is known.

        Args:
            prompt: the instruction; its tokens are part of what a processor makes.
            path: the variant's file; None keeps nothing.
        """
        self._spec, self._prompt, self._path = spec, prompt, path
        self._of = [spec.fingerprint, prompt, *(f"{name} {version(name)}" for name in _PACKAGES)]
        self._known = self._read()

    def _read(self) -> dict[str, str]:
        if self._path is None:
            return {}
        try:
            kept = read_json(self._path, PageSizes)
        except (FileNotFoundError, InvalidFileError):  # what it held can be had again
            return {}
        return kept.resolutions if kept.of == self._of else {}

    def of(self, size: Size) -> str:
        """The resolution of a page of a size in pixels.

        Raises:
            UserError: the processor cannot use such a page.
        """
        name = _name(size)
        if name not in self._known:
            self._known[name] = _processed(self._spec, self._prompt, size)
        return self._known[name]

    def learn(self, sizes: Iterable[Size]) -> dict[Size, UserError]:
        """Make sure that the file has these sizes; returns those that the processor cannot use."""
        refused, before = {}, len(self._known)
        for size in dict.fromkeys(sizes):
            try:
                self.of(size)
            except UserError as error:
                refused[size] = error
        if self._path is not None and len(self._known) > before:
            write_json(self._path, PageSizes(self._of, self._known))
        return refused


def size_at(results: Path, variant: str, resolution: str) -> Size | None:
    """The first page size that was found to be of a resolution; None of models with a tiling.

    Raises:
        UserError: planning has not written the variant's file, or it has no such resolution.
    """
    if not resolution.startswith(NATIVE):
        return None
    path = sizes_path(results, variant)
    try:
        known = read_json(path, PageSizes).resolutions
        name = next(size for size, found in known.items() if found == resolution)
    except (FileNotFoundError, StopIteration):
        raise UserError(
            f"{path} knows no page of the resolution {resolution}", "run the same command again"
        ) from None
    width, height = name.split("x")
    return int(width), int(height)


def _name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


@cache
def _processed(spec: ModelSpec, prompt: str, size: Size) -> str:
    from mfuscope.models.support import empty_page  # imports torch

    return empty_page(spec, prompt, size).resolution
