"""Changes modules once a process imports them, for the sitecustomize modules of tests."""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from importlib.abc import Loader, MetaPathFinder
from typing import Any


class _Finder(MetaPathFinder):
    def __init__(self, changes: Mapping[str, Callable[[Any], None]]) -> None:
        self._changes = dict(changes)

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        change = self._changes.pop(name, None)
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


def change_imports(changes: Mapping[str, Callable[[Any], None]]) -> None:
    """Call a function with each of some modules, by name, as soon as it was imported."""
    sys.meta_path.insert(0, _Finder(changes))
