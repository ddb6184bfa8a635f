"""500 mutated images and 500 mutated configurations: all of them are handled or reported.

A case is its number; `python tests/support/fuzzing.py images 17` repeats one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import PEAK_MB, SECONDS
from mutated_images import mutated as mutated_image
from mutated_images import originals
from mutated_settings import mutated as mutated_settings

pytestmark = pytest.mark.faults

CASES = 500
FUZZING = Path(__file__).parents[1] / "support" / "fuzzing.py"


def fuzz(kind: str, first: int, last: int, seconds: int = SECONDS) -> list[str]:
    """The lines of the outcomes; fails with the case that went wrong."""
    done = subprocess.run(
        [sys.executable, str(FUZZING), kind, *map(str, (first, last, seconds))],
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        env=os.environ | {"PYTHONPATH": str(FUZZING.parents[2] / "tools")},
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode:
        hung = f"took more than {seconds} s" if done.returncode == -14 else "failed"
        command = f"python tests/support/fuzzing.py {' '.join(lines[-1].split()[:2]).rstrip(':')}"
        pytest.fail(f"{hung}: {command}\n{lines[-1][-500:]}\n{done.stderr[-2000:]}")
    assert lines[-1].startswith("peak "), f"below {PEAK_MB} MB, or it would have failed"
    return [line.rpartition(" -> ")[2] for line in lines[:-1] if " -> " in line]


def test_mutated_images_are_pages_or_reported() -> None:
    outcomes = fuzz("images", 0, CASES)
    assert len(outcomes) == CASES
    # Each outcome is there often enough to be looked at.
    for outcome in ("read", "refused when decoded", "refused from its header"):
        assert outcomes.count(outcome) > CASES // 10


@pytest.mark.parametrize("number", [2622, 2753])
def test_a_length_beyond_the_memory_is_reported(number: int) -> None:
    """A PNG of less than 100 bytes has PIL ask for gigabytes, which a limit on memory refuses."""
    assert fuzz("images", number, number + 1) == ["refused when decoded"]


def test_mutated_settings_are_settings_or_reported() -> None:
    outcomes = fuzz("settings", 0, CASES)
    assert len(outcomes) == CASES
    reported = [outcome for outcome in outcomes if " reported, first: " in outcome]
    assert len(reported) > CASES // 2
    assert outcomes.count("planned") > CASES // 50
    assert len({text.partition("first: ")[2] for text in reported}) > CASES // 5, "they differ"


def test_a_case_is_its_number() -> None:
    assert list(map(mutated_image, range(50))) == list(map(mutated_image, range(50)))
    assert [mutated_settings(seed) for seed in range(50)] == [
        mutated_settings(s) for s in range(50)
    ]
    assert len({mutated_image(seed)[1] for seed in range(CASES)}) > CASES * 0.9
    assert {name.partition(" ")[0] for name, _ in originals()} == {
        *("PNG", "JPEG", "WEBP", "TIFF", "BMP")
    }


@pytest.mark.parametrize(
    ("number", "reported"),
    [
        (1, "KeyError: 'an exception'"),
        (2, "failed: "),
        (3, f"the peak is above {PEAK_MB} MB"),
        (4, "took more than 1 s"),
    ],
)
def test_what_goes_wrong_is_reported_by_its_number(number: int, reported: str) -> None:
    """An exception, a crash, much memory and a hang."""
    with pytest.raises(pytest.fail.Exception, match=reported) as caught:
        fuzz("faults", number, number + 1, seconds=1 if number == 4 else SECONDS)
    if number != 3:  # memory is looked at once
        assert f"python tests/support/fuzzing.py faults {number}" in str(caught.value)
