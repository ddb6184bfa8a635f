"""Damage to traces of a GPU, as CUPTI and users report it: each takes a document and changes it."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

Json = dict[str, Any]

DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")


def load(path: Path) -> Json:
    """A trace's document."""
    document: Json = msgspec.json.decode(gzip.decompress(path.read_bytes()))
    return document


def store(path: Path, document: Json) -> Path:
    path.write_bytes(msgspec.json.encode(document))
    return path


def on_device(document: Json) -> list[Json]:
    """The device events in the order of their starts."""
    found = [event for event in document["traceEvents"] if event.get("cat") in DEVICE]
    return sorted(found, key=lambda event: float(event["ts"]))


def lose_first(document: Json, share: float = 0.25) -> None:
    """The beginning is missing, as after a device was idle."""
    events = on_device(document)
    gone = {id(event) for event in events[: int(share * len(events))]}
    document["traceEvents"] = [e for e in document["traceEvents"] if id(e) not in gone]


def lose_times(document: Json, share: float = 0.5) -> None:
    """Events without times: both are 0."""
    events = on_device(document)
    for event in events[: int(share * len(events))]:
        event |= {"ts": 0, "dur": 0}


def lengthen(place: int, us: float) -> Callable[[Json], None]:
    """One kernel takes impossibly long."""

    def change(document: Json) -> None:
        kernels = [event for event in on_device(document) if event["cat"] == "kernel"]
        kernels[place]["dur"] = us

    return change


def lose_correlation(document: Json) -> None:
    """No event names its launch."""
    for event in on_device(document):
        del event["args"]["correlation"]


def lose_names_of_launches(document: Json) -> None:
    """No event names its launch or its operator."""
    lose_correlation(document)
    for event in on_device(document):
        event["args"].pop("External id", None)
