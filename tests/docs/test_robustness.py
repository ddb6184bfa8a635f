"""docs/robustness.md: every named test exists."""

import ast
import re

import pytest
from checkouts import ROOT

NAMED = re.findall(
    r"tests/([\w/]+\.py)(?:::(\w+))?", (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_test_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert not name or name in names


def test_every_row_has_its_test() -> None:
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 50
    lacking = [row for row in rows if "tests/" not in row and not row.startswith("| case ")]
    assert [row.split(" | ")[0] for row in lacking] == ["| known vulnerabilities of dependencies"]
