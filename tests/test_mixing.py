"""Which runs may be averaged together, and what is said of those that may not."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfuscope import records
from mfuscope.artefacts import read_json, write_json
from mfuscope.errors import ToldError, UserError
from mfuscope.mixing import Mixture, Origin, check_alike, find_mixture

NAMES = [field.name for field in fields(Origin)]
PAGES = {"page.png": builders.SHA256}
H200 = {"name": "NVIDIA H200", "memory_bytes": 150_000_000_000}


def origin(run: records.Run) -> Origin:
    return Origin(**{name: getattr(run, name) for name in NAMES})


def a_run(repeat: int = 0, **changes: Any) -> Origin:
    return replace(origin(builders.run()), repeat=repeat, **changes)


def runs(number: int, **changes: Any) -> list[Origin]:
    return [a_run(repeat, **changes) for repeat in range(number)]


def never() -> NoReturn:
    raise AssertionError("torch is not imported where nothing is mixed")


def mixture(
    made: list[Origin],
    installed: records.Versions | None = None,
    pages: dict[str, str] = PAGES,
) -> Mixture | None:
    return find_mixture(made, pages, lambda: installed or builders.versions())


def test_a_record_of_a_run_tells_its_origin(tmp_path: Path) -> None:
    write_json(tmp_path / "0.json", builders.run())
    assert read_json(tmp_path / "0.json", Origin) == a_run()


SAME: list[dict[str, Any]] = [
    {"device": builders.gpu(uuid="GPU-of-another-card")},
    {"device": builders.gpu(memory_bytes=85_000_100_000)},  # what the driver left of it
    {"device": builders.gpu(sm_clock_max_mhz=None, threads=4)},
    {"versions": builders.versions(python="3.11.9")},
    {"versions": builders.versions(platform="Linux-6.9-x86_64-with-glibc2.39")},
    {"versions": builders.versions(mfuscope="0.2.0")},
    {"measured_at": "2027-01-01T00:00:00Z"},
]
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
    ({"versions": builders.versions(python="3.12.1")}, "Python 3.12"),
    ({"protocol": 1}, "measurement protocol 1"),
    ({"settings": builders.run().settings | {"warmup": 9}}, "warmup 9"),
    (
        {
            "settings": builders.run().settings
            | {"profiler": {**builders.run().settings["profiler"], "decode_steps": 7}}
        },
        "profiler.decode_steps 7",
    ),
    ({"model": builders.model(fingerprint="ffff")}, "model files ffff"),
    ({"model": builders.model(weights="checkpoint")}, "weights checkpoint"),
    ({"model": builders.model(dtype="fp32")}, "precision fp32"),
]


@pytest.mark.parametrize("facts", SAME)
def test_what_changes_no_time_may_differ(facts: dict[str, Any]) -> None:
    assert find_mixture([*runs(2), a_run(2, **facts)], PAGES, never) is None


@pytest.mark.parametrize(("facts", "words"), OTHER, ids=[words for _, words in OTHER])
def test_what_changes_times_is_named_with_its_runs(
    facts: dict[str, Any], words: str, tmp_path: Path
) -> None:
    made = [*runs(5), a_run(5, **facts)]
    # Measured later, so that what cannot be known from here is like the others.
    made[0] = replace(made[0], measured_at="2026-02-01T00:00:00Z")
    found = mixture(made)
    assert found is not None
    assert [len(group.runs) for group in found.groups] == [5, 1]
    assert list(found.redo) == [made[5]]
    with pytest.raises(ToldError) as told:
        check(made, tmp_path)
    lines = str(told.value).splitlines()
    assert len(lines) == 3
    first = "baseline/page.png/0, baseline/page.png/1, baseline/page.png/2 and 2 more"
    assert lines[0].startswith("5 runs with ")
    assert lines[0].endswith(f": {first}")
    assert lines[1] == f"1 run with {words}: baseline/page.png/5"
    assert lines[2].endswith(
        "Remedy: to measure 1 run again, `rm results/baseline/runs/page.png/5.json` and run the "
        "same command again."
    )


def check(
    made: list[Origin],
    folder: Path,
    devices: dict[str, records.Device] | None = None,
    installed: records.Versions | None = None,
) -> None:
    check_alike(
        made,
        PAGES,
        devices or {},
        installed=lambda: installed or builders.versions(),
        results=Path("results"),
        listing=folder / "logs" / "measure_again.txt",
    )


def test_variants_may_differ_in_settings_but_not_in_conditions() -> None:
    eager = {"variant": "eager", "settings": builders.run().settings | {"attention": "eager"}}
    assert find_mixture([*runs(2), *runs(2, **eager)], PAGES, never) is None
    other = eager | {"versions": builders.versions(torch="2.13.0")}
    found = mixture([*runs(2), *runs(2, **other)])
    assert found is not None
    assert {run.variant for run in found.redo} == {"eager"}


def test_software_that_is_gone_is_measured_again_however_often_it_measured() -> None:
    old = runs(4, versions=builders.versions(torch="1.0", driver="1"))
    new = [a_run(9)]
    found = mixture([*old, *new])
    assert found is not None
    assert list(found.redo) == old
    # A node without a GPU does not tell the driver.
    found = mixture([*old, *new], builders.versions(driver=None, cuda=None))
    assert found is not None
    assert list(found.redo) == old
    # Where none of it is installed now, nothing that is measured now would fit.
    found = mixture([*old, *new], builders.versions(torch="3.0"))
    assert found is not None
    assert list(found.redo) == [*old, *new]


def test_of_devices_the_one_that_measured_last_is_kept() -> None:
    first = runs(3)
    last = runs(1, device=builders.gpu(**H200), measured_at="2026-05-01T00:00:00Z")
    found = mixture([*last, *first])
    assert found is not None
    assert list(found.redo) == first


def test_a_cpu_differs_in_its_name_and_threads_not_in_drivers() -> None:
    made = runs(2, device=builders.cpu())
    other_driver = builders.versions(driver=None, cuda=None)
    same = a_run(2, device=builders.cpu(memory_bytes=1 << 34), versions=other_driver)
    assert find_mixture([*made, same], PAGES, never) is None
    found = mixture([*made, a_run(2, device=builders.cpu(threads=4))])
    assert found is not None
    assert found.groups[1].facts == {"device": "A processor (4 threads)"}
    found = mixture([*made, a_run(2)])
    assert found is not None
    assert found.groups[0].facts == {"device": "A processor (2 threads)"}


def test_runs_of_another_content_of_a_page_are_measured_again() -> None:
    assert find_mixture(runs(2), {}, never) is None, "a page that is not listed"
    old = a_run(2, page=builders.page(sha256="0" * 64))
    found = mixture([*runs(2), old])
    assert found is not None
    assert list(found.redo) == [old]
    found = mixture(runs(2), pages={"page.png": "1" * 64})
    assert found is not None
    assert len(found.redo) == 2
    assert list(found.groups[0].facts) == ["page content"]


def test_many_runs_are_listed_in_a_file(tmp_path: Path) -> None:
    made = [*runs(20, versions=builders.versions(torch="1.0")), a_run(30)]
    with pytest.raises(ToldError) as told:
        check(made, tmp_path)
    listing = tmp_path / "logs" / "measure_again.txt"
    assert f"to measure 20 runs again, `xargs rm < {listing}` and run" in str(told.value)
    assert len(str(told.value)) < 600
    assert listing.read_text().splitlines() == [
        f"results/baseline/runs/page.png/{repeat}.json" for repeat in range(20)
    ]


@pytest.mark.parametrize("name", ["ceiling.json", "hardware.json"])
def test_another_devices_peaks_are_refused(name: str, tmp_path: Path) -> None:
    devices = {"ceiling.json": builders.gpu(), "hardware.json": builders.gpu(uuid="another")}
    check(runs(2), tmp_path, devices)
    with pytest.raises(UserError) as told:
        check(runs(2), tmp_path, devices | {name: builders.gpu(**H200)})
    assert f"results/{name} tells of another device, NVIDIA H200 (132 SMs, 140 GiB)" in str(
        told.value
    )
    assert f"`rm results/{name}` and run the same command again" in told.value.remedy


@given(
    st.lists(
        st.tuples(st.sampled_from(["1.0", "2.0"]), st.sampled_from(["a", "b"]), st.integers(0, 5)),
        min_size=1,
        max_size=12,
    )
)
def test_measuring_again_what_is_named_ends_every_mixture(made: list[tuple[str, str, int]]) -> None:
    left = [
        a_run(
            repeat,
            variant=f"v{repeat % 2}",
            versions=builders.versions(torch=torch),
            model=builders.model(fingerprint=fingerprint),
            measured_at=f"2026-01-01T00:00:{number:02}Z",
        )
        for number, (torch, fingerprint, repeat) in enumerate(made)
    ]
    installed = builders.versions(torch="2.0")
    models = {run.variant: run.model for run in left}  # what the settings ask for now
    rounds = 0
    while found := mixture(left, installed):
        for run in found.redo:
            left[left.index(run)] = replace(
                run,
                versions=installed,
                model=models[run.variant],
                measured_at="2026-01-02T00:00:00Z",
            )
        rounds += 1
        assert rounds <= 3, "software, and the settings of each variant"
