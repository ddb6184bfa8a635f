"""On PYTHONPATH, this changes what a model worker does: see worker_faults.py.

MFUSCOPE_TEST_RECORDS makes a worker use the stand-in for a model (stand_in_model.py).
"""

import importlib.util
import itertools
import os
import resource
import sys
import time
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from changed_imports import change_imports
from worker_faults import FAULTS, asked_for, hang_if_asked

WORKER = "mfuscope.worker.server"
STAND_IN = Path(__file__).parents[1] / "stand_in_model.py"
# What a worker imports to serve a job; other modules of the package need no torch.
REPLACED = [f"mfuscope.measure.{name}" for name in ("session", "passes", "calibration")]


def change_sessions(sessions: Any) -> None:
    original = sessions.Session.generate

    def generate(session: Any, *arguments: Any, **named: Any) -> Any:
        hang_if_asked()
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

    sessions.Session.generate = generate


def make_clock_jump() -> None:
    """Back and forth."""
    day, now, now_ns = itertools.cycle((0, 86400)), time.time, time.time_ns
    time.time = lambda: now() - next(day)
    time.time_ns = lambda: now_ns() - next(day) * 10**9


class Replacing(MetaPathFinder):
    """Has the stand-in imported in place of what measures."""

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        if name in REPLACED:
            return importlib.util.spec_from_file_location(name, STAND_IN)
        return None


if FAULTS.is_dir() and WORKER in sys.orig_argv:
    if "MFUSCOPE_TEST_RECORDS" in os.environ:
        sys.meta_path.insert(0, Replacing())
    else:
        change_imports({"mfuscope.measure.session": change_sessions})
    if (FAULTS / "jump").exists():
        make_clock_jump()
