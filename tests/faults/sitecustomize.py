"""Faults for tests: on PYTHONPATH, this changes what a model worker's `generate` does.

The folder MFUSCOPE_TEST_FAULTS says what happens, by files in it:

- ``raise``: the model raises within its next forward; the file goes.
- ``hang``: `generate` sleeps; a file ``hanging`` appears with the worker's process number.
"""

import importlib.util
import os
import sys
import time
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from typing import Any

FAULTS = Path(os.environ.get("MFUSCOPE_TEST_FAULTS", "/nowhere"))
WORKER = "mfuscope.worker.server"


def generate_with_faults(original: Any) -> Any:
    def generate(session: Any, *arguments: Any, **named: Any) -> Any:
        if (FAULTS / "hang").exists():
            (FAULTS / "hanging").write_text(str(os.getpid()))
            time.sleep(600)
        if not (FAULTS / "raise").exists():
            return original(session, *arguments, **named)
        (FAULTS / "raise").unlink()

        def fail(*_: object) -> None:
            raise RuntimeError("a fault\nin the model")

        handle = session.model.register_forward_pre_hook(fail)
        try:
            return original(session, *arguments, **named)
        finally:
            handle.remove()

    return generate


class Finder(MetaPathFinder):
    """Changes `mfuscope.sessions` once it is imported."""

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        if name != "mfuscope.sessions":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert isinstance(spec.loader, Loader)
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            module.Session.generate = generate_with_faults(module.Session.generate)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if FAULTS.is_dir() and WORKER in sys.orig_argv:
    sys.meta_path.insert(0, Finder())
