"""The workflow on disks that fill up or refuse to be written to, and beside another workflow."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from checkouts import FIRST, SECOND, SETTINGS, THIRD, Checkout, make_checkout
from mounts import make_room, read_only, small_disk
from processes import WORKER, Faults, wait_for
from validate import validate_results

from mfuscope.storage.artefacts import PARTIAL
from mfuscope.storage.locks import LOCK

pytestmark = pytest.mark.faults


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = make_checkout(tmp_path / "checkout")
    made.configure(**SETTINGS, repeats=1)
    for page in (FIRST, SECOND, THIRD):
        made.add_page(page)
    return made


def reported(said: str, sign: str) -> list[str]:
    """The lines of ours that hold a sign."""
    return [line for line in said.splitlines() if line.startswith("mfuscope: ") and sign in line]


def check_sound(checkout: Checkout) -> None:
    """Nothing half-written lies in the results, and all that lies there is valid."""
    assert not list(checkout.results.rglob(f".*{PARTIAL}"))
    files = [path for path in checkout.results.rglob("*") if path.is_file() and path.name != LOCK]
    assert all(path.stat().st_size for path in files)
    validate_results(checkout.results)


def test_a_full_disk_fails_the_runs_that_it_has_no_room_for(checkout: Checkout) -> None:
    full = "the disk is full (No space left on device). Remedy: free space there"
    with small_disk(checkout.results, "540k"):  # two traces and what is read from them, not three
        status, said = checkout.call()
        assert status != 0
        lines = reported(said, "could not be written")
        assert all(full in line for line in lines)
        # Which of a page's files found no room depends on what was derived from the others by then.
        failed = [line for line in lines if "/traces/" in line or "/runs/" in line]
        assert failed
        assert said.count("run failed: ") == len(failed)
        assert "Traceback" not in said
        check_sound(checkout)
        runs = checkout.digests()
        assert len(runs) == 3 - len(failed)

        # Room for what is measured, but not for the report on it.
        make_room(checkout.results, "50m")
        checkout.run("--until", "profile")
        measured = checkout.digests()
        assert len(measured) == 3
        assert runs.items() < measured.items()
        used = sum(path.stat().st_blocks // 2 for path in checkout.results.rglob("*"))
        make_room(checkout.results, f"{used + 60}k")
        status, said = checkout.call()
        assert status != 0
        lines = reported(said, "could not be written")
        assert lines
        assert all(full in line for line in lines)
        assert "run failed: " not in said
        check_sound(checkout)
        assert checkout.digests() == measured

        make_room(checkout.results, "50m")
        checkout.run()
        check_sound(checkout)
        assert checkout.digests() == measured
        assert len(checkout.table("metrics.csv")) == 3


def test_a_read_only_results_folder_is_reported_before_anything_is_measured(
    checkout: Checkout,
) -> None:
    checkout.results.mkdir()
    with read_only(checkout.results):
        status, said = checkout.call()
    assert status != 0
    (line,) = reported(said, "Remedy: ")
    assert line.startswith("mfuscope: the folder 'results' cannot be written to. Remedy: ")
    assert "probing" not in said
    assert "Traceback" not in said


def test_read_only_results_are_reported_too(checkout: Checkout) -> None:
    checkout.run("results/inputs.csv")
    checkout.add_page("mixed_de_text_music.png")
    with read_only(checkout.results):
        status, said = checkout.call()
    assert status != 0
    (line,) = reported(said, "Remedy: ")
    assert line.startswith("mfuscope: results that must be made again are write-protected, or ")
    assert len(checkout.table("inputs.csv")) == 3


def test_a_second_workflow_ends_and_leaves_the_first_alone(
    checkout: Checkout, faults: Faults
) -> None:
    # The lock lies in the results, which both share.
    other = make_checkout(checkout.root.with_name("other"))
    other.configure(**SETTINGS, repeats=1)
    for page in checkout.pages.iterdir():
        shutil.copy(page, other.pages)
    checkout.results.mkdir()
    other.results.symlink_to(checkout.results)

    first = checkout.start(**faults.environment)
    wait_for(lambda: faults.processes(WORKER), "a worker")
    (worker,) = faults.processes(WORKER)
    os.kill(worker, signal.SIGSTOP)  # for as long as the second takes
    try:
        before = checkout.digests("**/*.*")
        seconds = [checkout.call(), other.call()]
        assert checkout.digests("**/*.*") == before
        beside = checkout.call("-n")
    finally:
        os.kill(worker, signal.SIGCONT)
    for status, said in seconds:
        assert status != 0
        (line,) = reported(said, "Remedy: ")
        assert line.startswith("mfuscope: another call is making these results. Remedy: wait until")
        assert f"(it holds '{checkout.results}'" in line
        assert len(said.splitlines()) == 3, "that, the profile, and what was planned"
    assert beside[0] == 0, "looking is allowed"
    printed_by_first, _ = first.communicate(timeout=600)
    assert first.returncode == 0, printed_by_first
    check_sound(checkout)
    runs = checkout.digests()
    assert len(runs) == 3
    assert checkout.planned() == {}
    assert "Nothing to do" in other.run()
    assert checkout.digests() == runs


def test_results_that_are_a_dead_link_are_reported_before_anything_is_measured(
    checkout: Checkout,
) -> None:
    checkout.results.symlink_to(checkout.root / "not mounted")
    status, said = checkout.call()
    assert status != 0
    (line,) = reported(said, "Remedy: ")
    assert line.startswith("mfuscope: the folder 'results', a link to ")
    assert "not mounted'," in line
    assert "probing" not in said
    assert "Traceback" not in said
