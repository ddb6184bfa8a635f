"""Faults for tests: on PYTHONPATH, this changes what a model worker does.

The folder MFUSCOPE_TEST_FAULTS says what happens, by files in it:

- ``build``: building the model takes as many seconds longer as it holds.
- ``raise``: the model raises within its next forward; the file goes.
- ``hang``: `generate` sleeps; a file ``hanging`` appears with the worker's process number.
- ``short``: from the next `generate` on, the process gets no more than another 100 MB; the file
  goes.
- ``crowded``: no memory is free while the process whose number it holds is there.
- ``jump``: in a process that starts with it, each look at the time of day is a day off the last.
- ``set-clock``: within the next traced pass, the file ``clock`` appears; this file goes.
"""

import importlib.util
import itertools
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from typing import Any

FAULTS = Path(os.environ.get("MFUSCOPE_TEST_FAULTS", "/nowhere"))
WORKER = "mfuscope.worker.server"


def asked_for(fault: str) -> bool:
    """Whether a fault is to happen now; once."""
    if not (FAULTS / fault).exists():
        return False
    (FAULTS / fault).unlink()
    return True


def change_sessions(sessions: Any) -> None:
    original, load = sessions.Session.generate, sessions.load_model

    def load_model(*arguments: Any) -> Any:
        if (FAULTS / "build").exists():
            time.sleep(float((FAULTS / "build").read_text()))
        return load(*arguments)

    def generate(session: Any, *arguments: Any, **named: Any) -> Any:
        if (FAULTS / "hang").exists():
            (FAULTS / "hanging").write_text(str(os.getpid()))
            time.sleep(600)
        if asked_for("short"):
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), -1))
        if sessions.torch.autograd.profiler._is_profiler_enabled and asked_for("set-clock"):
            (FAULTS / "clock").touch()
        if not asked_for("raise"):
            return original(session, *arguments, **named)

        def fail(*_: object) -> None:
            raise RuntimeError("a fault\nin the model")

        handle = session.model.register_forward_pre_hook(fail)
        try:
            return original(session, *arguments, **named)
        finally:
            handle.remove()

    sessions.Session.generate, sessions.load_model = generate, load_model


def change_memory(memory: Any) -> None:
    original = memory.device_memory

    def device_memory(device: Any) -> Any:
        found, crowd = original(device), FAULTS / "crowded"
        if crowd.exists():
            command = Path("/proc", crowd.read_text(), "cmdline")
            if command.exists() and command.read_bytes():  # one that has ended has none
                return replace(found, free=0)
        return found

    memory.device_memory = device_memory


def make_clock_jump() -> None:
    """Back and forth."""
    day, now, now_ns = itertools.cycle((0, 86400)), time.time, time.time_ns
    time.time = lambda: now() - next(day)
    time.time_ns = lambda: now_ns() - next(day) * 10**9


CHANGES: dict[str, Callable[[Any], None]] = {
    "mfuscope.measure.session": change_sessions,
    "mfuscope.hardware.memory": change_memory,
}


class Finder(MetaPathFinder):
    """Changes modules once they are imported."""

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        change = CHANGES.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert isinstance(spec.loader, Loader)
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            change(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if FAULTS.is_dir() and WORKER in sys.orig_argv:
    sys.meta_path.insert(0, Finder())
    if (FAULTS / "jump").exists():
        make_clock_jump()
