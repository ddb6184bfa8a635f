"""Names of variants: folders of results and wildcards of Snakemake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake.io import PeriodicityDetector

from mfuscope.config.variants import check_names
from mfuscope.core.errors import Findings, UserErrors


def problems(*names: str) -> list[str]:
    findings = Findings()
    check_names(names, findings)
    if not findings:
        return []
    with pytest.raises(UserErrors) as caught:
        findings.raise_any()
    return [error.problem for error in caught.value.errors]


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a b", "é", "a.b", "x" * 41, "a\n", "{a}"])
def test_names_that_are_no_folder_names_are_refused(name: str) -> None:
    (problem,) = problems(name)
    assert problem == f"variants: {name!r} cannot name a folder of results"


@pytest.mark.parametrize("name", ["figures", "Figures"])
def test_names_of_other_folders_of_results_are_refused(name: str) -> None:
    (problem,) = problems(name)
    assert problem == f"variants: {name!r} names another folder of results already"


@pytest.mark.parametrize("name", ["a" * 40, "x" + "_" * 20, "ab" * 20])
def test_periodic_names_are_refused(name: str) -> None:
    (problem,) = problems(name)
    assert problem.startswith(f"variants: {name!r} ends in 20 or more equal parts")


@given(st.one_of(st.text("ab", max_size=40), st.from_regex(r"\A[ab]?(a|ba){17,22}b?\Z")))
def test_periodic_names_are_those_that_snakemake_refuses(name: str) -> None:
    name = f"c{name}"[:40]
    refused = PeriodicityDetector().is_periodic(name) is not None
    assert bool(problems(name)) == refused


def test_names_that_differ_only_in_capital_letters_are_refused() -> None:
    (problem,) = problems("A", "b", "a")
    assert problem.startswith("variants: 'A' and 'a' differ only in capital letters")
    assert problems("a", "b", "a-1") == []
