"""Captured CUDA graphs, and how a trace's metadata holds them.

A replay appears in a trace as one launch with all its kernels, which have names and times but no
operator. The capture knows the operators (`traces.replays`); each trace of a process with graphs
carries them, so that a trace needs no other file to be read.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: Key of the graphs in a trace's metadata.
METADATA: Final = "mfuscope_graphs"


@dataclass(frozen=True, slots=True)
class CapturedGraph:
    """A CUDA graph: the names of its kernels, copies and memsets, and of their operators.

    Both are in the order of capture. An operator is empty where the capture shows none.
    """

    kernels: tuple[str, ...]
    operators: tuple[str, ...]


def to_metadata(graphs: Iterable[CapturedGraph]) -> str:
    """Graphs as JSON for a profile's ``add_metadata_json``: a table of names, and indices."""
    names: dict[str, int] = {}
    rows = [
        [[names.setdefault(name, len(names)) for name in part] for part in (g.kernels, g.operators)]
        for g in graphs
    ]
    return json.dumps({"names": list(names), "graphs": rows}, ensure_ascii=False)


def from_metadata(value: Mapping[str, Any]) -> tuple[CapturedGraph, ...]:
    """The graphs of `to_metadata`.

    Raises:
        LookupError, TypeError, ValueError: the value is something else.
    """
    names: Sequence[str] = value["names"]
    found = []
    for kernels, operators in value["graphs"]:
        if len(kernels) != len(operators):
            raise ValueError("a graph has fewer operators than kernels, or more")
        found.append(
            CapturedGraph(
                tuple(str(names[i]) for i in kernels), tuple(str(names[i]) for i in operators)
            )
        )
    return tuple(found)
