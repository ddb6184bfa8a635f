"""The pages of the documentation: links lead somewhere, named files exist, the order is true."""

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from checkouts import ROOT

from mfuscope.report.figures.style import LIGHT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")),
    *(ROOT / name for name in ("results/README.md", "contracts/README.md", "benchmarks/README.md")),
    *(path for path in sorted((ROOT / "docs").glob("*.md"))),
]
PACKAGES = ROOT / "src" / "mfuscope"


def layers() -> list[str]:
    """The packages of the import-linter contract, from the last to the first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    found: list[str] = contract["layers"]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)#\s]+)", text))
    missing = [
        link for link in links if "://" not in link and not (page.parent / link).resolve().exists()
    ]
    named = set(
        re.findall(r"\b(?:src|tests|tools|workflow/rules)/[\w/.-]*\w\.(?:py|csv|smk)", text)
    )
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_the_table_of_decisions_names_files_that_exist() -> None:
    """A bare name lies in the folder of the name before it."""
    page = (ROOT / "docs" / "workflow.md").read_text(encoding="utf-8")
    table = page.partition("## Where is X decided?")[2]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    for row in rows:
        folder = Path()
        for name in re.split(r", ", row.partition("(")[0].strip()):
            path = Path(name) if "/" in name else folder / name
            folder = path.parent
            assert any((base / path).exists() for base in (PACKAGES, ROOT)), path


def test_the_picture_of_the_house_is_the_contract() -> None:
    page = (ROOT / "docs" / "workflow.md").read_text(encoding="utf-8")
    boxes = re.findall(r'^    (\w+)\["<b>(\w+)</b>: .+"\]$', page, re.MULTILINE)
    assert [name for name, _ in boxes] == [shown for _, shown in boxes] == layers()
    chains = [line.split(" ==> ") for line in page.splitlines() if " ==> " in line]
    (first, *rest) = [[name.strip() for name in chain] for chain in chains]
    chain = first + [name for names in rest for name in names[1:]]
    assert chain == layers()


def test_contributors_find_the_packages_in_their_order() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.partition("| package | content |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE) == layers()[::-1]


def test_the_minimal_profile_is_a_part_of_the_full_one() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    full = (ROOT / "profiles" / "slurm" / "profile.yaml").read_text(encoding="utf-8")
    minimal, known = (
        yaml.safe_load(page.split("```yaml\n")[1].split("```")[0]),
        yaml.safe_load(full),
    )
    for key, value in minimal.items():
        if not isinstance(value, list):
            assert known[key] == value
            continue
        own = [one for one in value if one not in known[key]]  # what a site fills in
        assert not [one for one in own if f"  # - {one}\n" not in full]
    table = page.partition("| lines | what they bring |")[2].partition("\n\n")[0]
    added = re.findall(
        r"`([a-z-]+)[`:]", "".join(re.findall(r"^\| (`.+?) \|", table, re.MULTILINE))
    )
    assert set(known) == {*minimal, *added}


def test_the_timeline_has_the_colours_of_the_report() -> None:
    root = ElementTree.parse(ROOT / "docs" / "run.svg").getroot()
    assert root.findtext("{*}title")
    fills = {fill for one in root.iter() if (fill := one.get("fill", "none")) != "none"}
    assert {LIGHT["prefill"], LIGHT["decode"]} < fills <= set(LIGHT.values())
