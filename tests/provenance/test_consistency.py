"""Which runs may be averaged together, and what is reported of inconsistent runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st
from provenances import SETTINGS, a_run

from mfuscope.core import records
from mfuscope.core.errors import MfuscopeError
from mfuscope.provenance.consistency import (
    Inconsistency,
    check_consistent,
    find_inconsistency,
)
from mfuscope.provenance.facts import Provenance, describe_device

PAGES = {"page.png": builders.SHA256, "other.png": builders.SHA256}
VARIANTS = dict.fromkeys(("baseline", "eager"), SETTINGS)
H200 = {"name": "NVIDIA H200", "memory_bytes": 150_000_000_000}
EARLIER, LATER = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def runs(number: int, **changes: Any) -> list[Provenance]:
    return [a_run(repeat, **changes) for repeat in range(number)]


def inconsistency(
    made: list[Provenance], ceiling: records.Ceiling | None = None
) -> Inconsistency | None:
    return find_inconsistency(
        made, ceiling=ceiling or builders.ceiling(), settings=VARIANTS, pages=PAGES
    )


def again(made: list[Provenance], ceiling: records.Ceiling | None = None) -> list[Provenance]:
    found = inconsistency(made, ceiling)
    assert found is not None
    return list(found.again)


def check(
    made: list[Provenance],
    folder: Path = Path("unused"),
    ceiling: records.Ceiling | None = None,
    hardware: records.Device | None = None,
    pages: dict[str, str] = PAGES,
) -> None:
    ceiling = ceiling or builders.ceiling()
    check_consistent(
        made,
        ceiling=ceiling,
        hardware=hardware or ceiling.device,
        settings=VARIANTS,
        pages=pages,
        results=Path("results"),
        listing=folder / "logs" / "measure_again.txt",
    )


def reported(made: list[Provenance], folder: Path, **given: Any) -> list[str]:
    with pytest.raises(MfuscopeError) as caught:
        check(made, folder, **given)
    return str(caught.value).splitlines()


SAME: list[dict[str, Any]] = [
    {"device": builders.gpu(uuid="GPU-of-another-card")},
    {"device": builders.gpu(memory_bytes=85_000_100_000)},  # what the driver left of it
    {"device": builders.gpu(sm_clock_max_mhz=None, threads=4)},
    {"versions": builders.versions(python="3.11.9")},
    {"versions": builders.versions(platform="Linux-6.9-x86_64-with-glibc2.39")},
    {"versions": builders.versions(mfuscope="0.2.0")},
    {"measured_at": LATER},
]


@pytest.mark.parametrize("facts", SAME)
def test_what_changes_no_time_may_differ(facts: dict[str, Any]) -> None:
    check([*runs(2), a_run(2, **facts)])


OTHER: list[tuple[dict[str, Any], str]] = [
    ({"device": builders.gpu(**H200)}, "device NVIDIA H200 (132 SMs, 140 GiB)"),
    ({"device": builders.gpu(sm_count=114)}, "device NVIDIA H100 80GB HBM3 (114 SMs, 79 GiB)"),
    (
        {"device": builders.gpu(memory_bytes=64 << 30)},
        "device NVIDIA H100 80GB HBM3 (132 SMs, 64 GiB)",
    ),
    ({"versions": builders.versions(torch="2.13.0")}, "torch 2.13.0"),
    ({"versions": builders.versions(transformers="6.0.0")}, "transformers 6.0.0"),
    ({"versions": builders.versions(cuda="13.0")}, "CUDA 13.0"),
    ({"versions": builders.versions(driver="590.1")}, "driver 590.1"),
    ({"versions": builders.versions(driver=None)}, "driver unknown"),
    ({"versions": builders.versions(python="3.12.1")}, "Python 3.12"),
    ({"model": builders.model(weights="checkpoint")}, "weights checkpoint"),
    ({"model": builders.model(dtype="fp32")}, "precision fp32"),
    ({"model": builders.model(experts_implementation="eager")}, "expert layers eager"),
]


@pytest.mark.parametrize(("facts", "words"), OTHER, ids=[words for _, words in OTHER])
def test_what_changes_times_is_named_with_its_runs(
    facts: dict[str, Any], words: str, tmp_path: Path
) -> None:
    lines = reported([*runs(5), a_run(5, measured_at=EARLIER, **facts)], tmp_path)
    first = "baseline/page.png/0, baseline/page.png/1, baseline/page.png/2 and 2 more"
    assert lines[0].startswith("5 runs with ")
    assert lines[0].endswith(f" (kept): {first}")
    assert lines[1:] == [
        f"1 run with {words}: baseline/page.png/5",
        "results that differ so must not be averaged or compared. Remedy: to measure 1 run again, "
        "`rm results/baseline/runs/page.png/5.json` and run the same command again.",
    ]


def test_what_is_not_asked_for_is_named_with_its_runs(tmp_path: Path) -> None:
    other = builders.run().settings | {"warmup": 9, "max_new_tokens": 5}
    lines = reported([*runs(2), a_run(2, settings=other, measured_at=LATER)], tmp_path)
    assert lines[0] == (
        "1 run with max_new_tokens 5 instead of 4, warmup 9 instead of 1: baseline/page.png/2"
    )
    assert "to measure 1 run again, `rm results/baseline/runs/page.png/2.json` and" in lines[1]
    assert len(lines) == 2


def test_runs_of_another_content_of_a_page_are_measured_again() -> None:
    old = a_run(2, page=builders.page(sha256="0" * 64))
    assert again([*runs(2), old]) == [old]
    assert len(again(runs(3, page=builders.page(sha256="0" * 64)))) == 3


def test_variants_may_differ_in_precision_but_not_in_conditions() -> None:
    eager: dict[str, Any] = {"variant": "eager", "model": builders.model(dtype="fp16")}
    check([*runs(2), *runs(2, **eager)])
    other = eager | {"versions": builders.versions(torch="2.1"), "measured_at": EARLIER}
    assert {run.variant for run in again([*runs(2), *runs(2, **other)])} == {"eager"}


def test_what_was_measured_last_is_kept_however_few_runs_it_are() -> None:
    old = runs(4, versions=builders.versions(torch="1.0", driver="1"))
    new = [a_run(9, measured_at=LATER)]
    assert again([*old, *new]) == old
    # Measured in one second: the most are kept.
    assert again([*old, a_run(9)]) == [a_run(9)]


def test_what_is_measured_again_anyhow_decides_nothing() -> None:
    outdated = a_run(9, protocol=1, device=builders.gpu(**H200), measured_at=LATER)
    assert again([*runs(3), outdated]) == [outdated]


def test_a_ceiling_of_before_the_runs_is_measured_again(tmp_path: Path) -> None:
    stale = builders.ceiling(device=builders.gpu(**H200), measured_at=EARLIER)
    lines = reported(runs(2), tmp_path, ceiling=stale)
    assert lines[0].startswith("2 runs with device NVIDIA H100 80GB HBM3 (132 SMs, 79 GiB): ")
    assert lines[1] == "results/ceiling.json with device NVIDIA H200 (132 SMs, 140 GiB)"
    assert "to measure the device again, `rm results/ceiling.json` and run" in lines[2]
    # In one go with the runs that are of another device.
    other = a_run(9, device=builders.cpu(), measured_at=EARLIER)
    lines = reported([*runs(2), other], tmp_path, ceiling=stale)
    paths = "results/baseline/runs/page.png/9.json results/ceiling.json"
    assert f"to measure 1 run and the device again, `rm {paths}` and run" in lines[-1]


def test_a_ceiling_of_after_the_runs_says_what_measures_now(tmp_path: Path) -> None:
    """Results of another machine, whose ceiling was measured anew here."""
    here = builders.ceiling(device=builders.cpu(), measured_at=LATER)
    foreign = runs(2, device=builders.cpu(name="Another"))
    lines = reported(foreign, tmp_path, ceiling=here)
    assert lines[:2] == [
        "2 runs with device Another (2 threads): baseline/page.png/0, baseline/page.png/1",
        "results/ceiling.json with device A processor (2 threads)",
    ]
    assert "to measure 2 runs again, `rm results/baseline/runs/page.png/0.json " in lines[2]
    own = a_run(9, device=builders.cpu(), measured_at=EARLIER)
    assert again([*foreign, own], here) == foreign


def test_a_cpu_differs_in_its_name_and_threads() -> None:
    ceiling = builders.ceiling(device=builders.cpu())
    made = runs(2, device=builders.cpu())
    for device in (builders.cpu(threads=4), builders.cpu(name="Another")):
        other = a_run(2, device=device, measured_at=EARLIER)
        assert again([*made, other], ceiling) == [other]


def test_many_runs_are_listed_in_a_file(tmp_path: Path) -> None:
    made = [*runs(20, versions=builders.versions(torch="1.0")), a_run(30, measured_at=LATER)]
    lines = reported(made, tmp_path)
    listing = tmp_path / "logs" / "measure_again.txt"
    assert f"to measure 20 runs again, `xargs rm < {listing}` and run" in lines[-1]
    assert len("\n".join(lines)) < 600
    assert listing.read_text().splitlines() == [
        f"results/baseline/runs/page.png/{repeat}.json" for repeat in range(20)
    ]


def test_many_groups_are_not_all_named(tmp_path: Path) -> None:
    settings = builders.run().settings
    made = [a_run(n, settings=settings | {"warmup": n}) for n in range(2, 22)]
    lines = reported(made, tmp_path)
    assert lines[10] == "... and 10 more such groups"
    assert len(lines) == 12


def test_no_record_writes_lines_of_its_own(tmp_path: Path) -> None:
    evil = builders.versions(torch="1\nRemedy: `rm -r ~` \x1b[2J" + "x" * 500)
    lines = reported([*runs(2), a_run(2, versions=evil, measured_at=EARLIER)], tmp_path)
    assert len(lines) == 3
    assert lines[1].startswith(r"1 run with torch 1\nRemedy: `rm -r ~` \x1b[2Jx")
    assert len(lines[1]) < 150


def test_peaks_of_another_device_are_refused(tmp_path: Path) -> None:
    (line,) = reported(runs(2), tmp_path, hardware=builders.gpu(**H200))
    assert "results/hardware.json is of another device, NVIDIA H200 (132 SMs, 140 GiB)" in line
    assert "`rm results/hardware.json` and run the same command again" in line
    check(runs(2), hardware=builders.gpu(uuid="another"))


def test_a_page_that_the_inputs_lack_is_named(tmp_path: Path) -> None:
    (line,) = reported(runs(2), tmp_path, pages={})
    assert line.startswith("results/inputs.csv lacks the page page.png. Remedy: `rm results/inp")


DEVICES = [builders.gpu(), builders.gpu(**H200), builders.cpu(), builders.cpu(threads=8)]
DATES = st.sampled_from([EARLIER, builders.MEASURED_AT, LATER])
VERSIONS = st.builds(
    builders.versions, torch=st.sampled_from("12"), driver=st.sampled_from(["1", "2", None])
)
RUNS = st.lists(
    st.builds(
        a_run,
        repeat=st.integers(0, 5),
        variant=st.sampled_from(sorted(VARIANTS)),
        image=st.sampled_from(sorted(PAGES)),
        measured_at=DATES,
        device=st.sampled_from(DEVICES),
        versions=VERSIONS,
        protocol=st.sampled_from([records.PROTOCOL, 1]),
        model=st.builds(builders.model, dtype=st.sampled_from(["bf16", "fp32"])),
        page=st.builds(builders.page, sha256=st.sampled_from([builders.SHA256, "b"])),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda run: run.key,
)


@given(
    made=RUNS,
    ceiling=st.builds(builders.ceiling, device=st.sampled_from(DEVICES), measured_at=DATES),
    here=st.sampled_from(DEVICES),
    installed=VERSIONS,
)
def test_measuring_again_what_is_named_ends_every_inconsistency(
    made: list[Provenance],
    ceiling: records.Ceiling,
    here: records.Device,
    installed: records.Versions,
) -> None:
    for number in range(4):
        found = inconsistency(made, ceiling)
        if found is None:
            assert {describe_device(run.device) for run in made} == {
                describe_device(ceiling.device)
            }
            return
        assert found.again or found.ceiling_again
        if found.ceiling_again:  # before the runs, as in a call
            ceiling = replace(ceiling, device=here, measured_at=f"2027-0{number + 1}-01T00:00:00Z")
        measured = {
            run.key: replace(
                run,
                protocol=records.PROTOCOL,
                measured_at=f"2027-0{number + 1}-01T00:00:01Z",
                device=here,
                versions=installed,
                model=builders.model(),
                page=builders.page(),
            )
            for run in found.again
        }
        made = [measured.get(run.key, run) for run in made]
    pytest.fail("four calls were not enough")
