"""Digests of this package's own code: what code derives is derived again when that changes."""

import hashlib
from pathlib import Path


def code_digest(*modules: str) -> str:
    """Digest of the source of modules of this package, e.g. ``metrics`` or ``report``.

    What is derived by code is derived again when that code changes, by content and not by date.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for module in modules:
        found = False
        for path in sorted([root / f"{module}.py", *(root / module).rglob("*.py")]):
            if path.is_file():
                found = True
                digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
        assert found, f"no module {module!r}"
    return digest.hexdigest()[:16]
