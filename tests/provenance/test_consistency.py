"""Which runs may be averaged together, and what is said of those that may not."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.config.settings import ModelSettings
from mfuscope.core import records
from mfuscope.core.errors import MfuscopeError
from mfuscope.hardware.devices import DeviceHere
from mfuscope.provenance.consistency import Mixture, Present, check_alike, find_mixture
from mfuscope.provenance.facts import Origin
from mfuscope.storage.artefacts import read_json, write_json

MODEL = [field.name for field in fields(ModelSettings)]
NAMES = [field.name for field in fields(Origin)]
PAGES = {"page.png": builders.SHA256}
H100 = DeviceHere("cuda", "NVIDIA H100 80GB HBM3", 16)
H200 = {"name": "NVIDIA H200", "memory_bytes": 150_000_000_000}


def origin(run: records.Run) -> Origin:
    return Origin(**{name: getattr(run, name) for name in NAMES})


def a_run(repeat: int = 0, **changes: Any) -> Origin:
    return replace(origin(builders.run()), repeat=repeat, **changes)


def runs(number: int, **changes: Any) -> list[Origin]:
    return [a_run(repeat, **changes) for repeat in range(number)]


def recorded() -> dict[str, Any]:
    """Settings as a run's record has them."""
    return {"max_new_tokens": 64, "warmup": 1, **dict.fromkeys(MODEL, "auto")}


def asked() -> dict[str, Any]:
    """The same as `Plan.run_settings` has them."""
    model = dict.fromkeys(MODEL, "auto")
    return {"max_new_tokens": 64, "warmup": 1, "model": model | {"fingerprint": "f"}}


def never() -> NoReturn:
    raise AssertionError("torch is not imported where nothing is mixed")


def present(**changes: Any) -> Present:
    """The machine that the builders' runs were measured on."""
    made = Present(here=H100, ceiling=builders.ceiling(), installed=builders.versions, pages=PAGES)
    return replace(made, **changes)


def elsewhere(device: records.Device, **changes: Any) -> Present:
    """A machine whose device is known from ceiling.json alone, as on a cluster."""
    return present(here=None, ceiling=builders.ceiling(device=device), **changes)


def on_cpu(**changes: Any) -> Present:
    here = DeviceHere("cpu", "A processor", 2)
    return present(here=here, ceiling=builders.ceiling(device=builders.cpu()), **changes)


def mixture(made: list[Origin], now: Present | None = None) -> Mixture | None:
    return find_mixture(made, now or present())


def redone(made: list[Origin], now: Present | None = None) -> list[Origin]:
    found = mixture(made, now)
    assert found is not None
    return list(found.redo)


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
    ({"model": builders.model(experts_implementation="eager")}, "expert layers eager"),
]


@pytest.mark.parametrize("facts", SAME)
def test_what_changes_no_time_may_differ(facts: dict[str, Any]) -> None:
    made = [*runs(2), a_run(2, **facts)]
    assert mixture(made, present(installed=never)) is None


@pytest.mark.parametrize(("facts", "words"), OTHER, ids=[words for _, words in OTHER])
def test_what_changes_times_is_named_with_its_runs(
    facts: dict[str, Any], words: str, tmp_path: Path
) -> None:
    made = [*runs(5), a_run(5, **facts)]
    found = mixture(made)
    assert found is not None
    assert [len(group.runs) for group in found.groups] == [5, 1]
    assert list(found.redo) == [made[5]]
    assert not found.ceiling
    lines = told(made, tmp_path)
    assert len(lines) == 3 + words.startswith("device NVIDIA H100"), "more of it tells the ceiling"
    first = "baseline/page.png/0, baseline/page.png/1, baseline/page.png/2 and 2 more"
    assert lines[0].startswith("5 runs with ")
    assert lines[0].endswith(f": {first}")
    assert lines[1] == f"1 run with {words}: baseline/page.png/5"
    assert lines[2].endswith(
        "Remedy: to measure 1 run again, `rm results/baseline/runs/page.png/5.json` and run the "
        "same command again."
    )


def told(
    made: list[Origin],
    folder: Path,
    now: Present | None = None,
    hardware: records.Device | None = None,
) -> list[str]:
    now = now or present()
    with pytest.raises(MfuscopeError) as caught:
        check_alike(
            made,
            now,
            hardware or now.ceiling.device,
            results=Path("results"),
            listing=folder / "logs" / "measure_again.txt",
        )
    return str(caught.value).splitlines()


def test_variants_may_differ_in_settings_but_not_in_conditions() -> None:
    eager = {"variant": "eager", "settings": builders.run().settings | {"attention": "eager"}}
    made = [*runs(2), *runs(2, **eager)]
    assert mixture(made, present(installed=never)) is None
    other = eager | {"versions": builders.versions(torch="2.13.0")}
    assert {run.variant for run in redone([*runs(2), *runs(2, **other)])} == {"eager"}


def test_software_that_is_gone_is_measured_again_however_often_it_measured(tmp_path: Path) -> None:
    old = runs(4, versions=builders.versions(torch="1.0", driver="1"))
    new = [a_run(9)]
    assert redone([*old, *new]) == old
    # NVML does not tell the driver now.
    untold = present(installed=lambda: builders.versions(driver=None))
    assert redone([*old, *new], untold) == old
    # Where none of it is installed now, nothing that is measured now would fit.
    gone = present(installed=lambda: builders.versions(torch="3.0"))
    assert redone([*old, *new], gone) == [*old, *new]
    assert told([*old, *new], tmp_path, gone)[2] == "what measures now: torch 3.0"


@pytest.mark.parametrize("measured_at", ["1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z"])
def test_what_measures_now_decides_whatever_the_clock_said(measured_at: str) -> None:
    """A record tells when it was measured, by a clock that may have jumped."""
    good, foreign = [a_run(9)], runs(3, device=builders.gpu(**H200))
    assert not hasattr(a_run(), "measured_at")
    ceiling = builders.ceiling(measured_at=measured_at)
    assert redone([*foreign, *good], present(ceiling=ceiling)) == foreign
    assert redone([*foreign, *good], present(here=None, ceiling=ceiling)) == foreign


def test_all_runs_of_another_machine_are_named(tmp_path: Path) -> None:
    """Results copied from there, their ceiling measured anew here."""
    foreign = runs(2, device=builders.cpu(name="Another"))
    assert redone(foreign, on_cpu()) == foreign
    lines = told(foreign, tmp_path, on_cpu())
    assert lines[:3] == [
        "2 runs with device Another (2 threads): baseline/page.png/0, baseline/page.png/1",
        "results/ceiling.json with device A processor (2 threads)",
        "what measures now: device A processor (2 threads)",
    ]
    assert "to measure 2 runs again, `rm results/baseline/runs/page.png/0.json " in lines[-1]


def test_a_ceiling_of_another_machine_is_measured_again(tmp_path: Path) -> None:
    stale = builders.ceiling(device=builders.gpu(**H200))
    found = mixture(runs(2), present(ceiling=stale))
    assert found is not None
    assert (list(found.redo), found.ceiling) == ([], True)
    lines = told(runs(2), tmp_path, present(ceiling=stale))
    assert lines[0].startswith("2 runs with device NVIDIA H100 80GB HBM3 (132 SMs, 79 GiB): ")
    assert lines[1] == "results/ceiling.json with device NVIDIA H200 (132 SMs, 140 GiB)"
    assert "to measure the device again, `rm results/ceiling.json` and run" in lines[-1]
    # In one go with the runs that are of neither.
    foreign = a_run(9, device=builders.cpu())
    lines = told([*runs(2), foreign], tmp_path, present(ceiling=stale))
    paths = "results/baseline/runs/page.png/9.json results/ceiling.json"
    assert f"to measure 1 run and the device again, `rm {paths}` and run" in lines[-1]


def test_on_a_cluster_the_ceiling_tells_what_measures(tmp_path: Path) -> None:
    old, new = runs(3), [a_run(9, device=builders.gpu(**H200))]
    site = elsewhere(builders.gpu(**H200))
    assert redone([*old, *new], site) == old
    lines = told([*old, *new], tmp_path, site)
    # It may be that of a partition that is gone.
    assert "If they are not, `rm results/ceiling.json` instead and run" in lines[-1]
    # Settings and torch are known.
    other = a_run(5, versions=builders.versions(torch="1.0"))
    assert len(told([*old, other], tmp_path, elsewhere(builders.gpu()))) == 3
    # Whoever submits has another driver, or none.
    for driver in ("1", None):
        submits = replace(site, installed=lambda: builders.versions(driver=driver))  # noqa: B023
        assert redone([*old, *new], submits) == old


def test_a_slice_of_a_gpu_is_of_it() -> None:
    slices = builders.gpu(name="NVIDIA H100 80GB HBM3 MIG 1g.10gb", sm_count=16)
    assert H100.may_be(slices)
    assert not H100.may_be(builders.gpu(name="NVIDIA H100 80GB HBM3e"))
    now = present(ceiling=builders.ceiling(device=slices))
    assert redone([*runs(3, device=slices), a_run(9)], now) == [a_run(9)]


def test_settings_that_are_asked_for_decide() -> None:
    now = present(settings={"baseline": asked()})
    fits = a_run(9, settings=recorded(), model=builders.model(fingerprint="f"))
    others = runs(3, settings=recorded() | {"warmup": 9})
    assert redone([*others, fits], now) == others


def test_a_setting_that_some_records_lack_is_told() -> None:
    found = mixture([*runs(2), a_run(2, settings=builders.run().settings | {"new": 1})])
    assert found is not None
    assert [group.facts for group in found.groups] == [{"new": "unset"}, {"new": "1"}]


def test_what_is_measured_again_must_fit_the_rest(tmp_path: Path) -> None:
    """A page that changed: what is measured now would be the first by the new torch."""
    old = a_run(2, page=builders.page(sha256="0" * 64))
    now = present(installed=lambda: builders.versions(torch="3.0"))
    assert redone([*runs(2), old], now) == [*runs(2), old]
    assert told([*runs(2), old], tmp_path, now)[2] == "what measures now: torch 3.0"


def test_a_cpu_differs_in_its_name_and_threads_not_in_drivers() -> None:
    made = runs(2, device=builders.cpu())
    other_driver = builders.versions(driver=None, cuda=None)
    same = a_run(2, device=builders.cpu(memory_bytes=1 << 34), versions=other_driver)
    assert mixture([*made, same], on_cpu(installed=never)) is None
    found = mixture([*made, a_run(2, device=builders.cpu(threads=4))], on_cpu())
    assert found is not None
    assert found.groups[1].facts == {"device": "A processor (4 threads)"}
    found = mixture([*made, a_run(2)], on_cpu())
    assert found is not None
    assert found.groups[0].facts == {"device": "A processor (2 threads)"}


def test_runs_of_another_content_of_a_page_are_measured_again() -> None:
    unlisted = present(pages={}, installed=never)
    assert mixture(runs(2), unlisted) is None
    old = a_run(2, page=builders.page(sha256="0" * 64))
    assert redone([*runs(2), old]) == [old]
    found = mixture(runs(2), present(pages={"page.png": "1" * 64}))
    assert found is not None
    assert len(found.redo) == 2
    assert list(found.groups[0].facts) == ["page content"]


def test_many_runs_are_listed_in_a_file(tmp_path: Path) -> None:
    made = [*runs(20, versions=builders.versions(torch="1.0")), a_run(30)]
    lines = told(made, tmp_path)
    listing = tmp_path / "logs" / "measure_again.txt"
    assert f"to measure 20 runs again, `xargs rm < {listing}` and run" in lines[-1]
    assert len("\n".join(lines)) < 600
    assert listing.read_text().splitlines() == [
        f"results/baseline/runs/page.png/{repeat}.json" for repeat in range(20)
    ]


def test_many_groups_are_not_all_told(tmp_path: Path) -> None:
    made = [a_run(n, settings=builders.run().settings | {"warmup": n}) for n in range(20)]
    lines = told(made, tmp_path)
    assert lines[10] == "... and 10 more such groups"
    assert len(lines) == 12


def test_no_record_writes_lines_of_its_own(tmp_path: Path) -> None:
    evil = builders.versions(torch="1\nRemedy: `rm -r ~` \x1b[2J" + "x" * 500)
    lines = told([*runs(2), a_run(2, versions=evil)], tmp_path)
    assert len(lines) == 3
    assert lines[1].startswith(r"1 run with torch 1\nRemedy: `rm -r ~` \x1b[2Jx")
    assert len(lines[1]) < 150


def test_peaks_of_another_device_are_refused(tmp_path: Path) -> None:
    (line,) = told(runs(2), tmp_path, hardware=builders.gpu(**H200))
    assert "results/hardware.json tells of another device, NVIDIA H200 (132 SMs, 140 GiB)" in line
    assert "`rm results/hardware.json` and run the same command again" in line
    check_alike(
        runs(2),
        present(),
        builders.gpu(uuid="another"),
        results=Path("results"),
        listing=tmp_path / "again.txt",
    )


DEVICES = {
    "gpu": builders.gpu(),
    "other gpu": builders.gpu(**H200),
    "cpu": builders.cpu(),
    "other cpu": builders.cpu(threads=8),
}
PLACES = {
    "gpu": H100,
    "other gpu": DeviceHere("cuda", "NVIDIA H200", 16),
    "cpu": DeviceHere("cpu", "A processor", 2),
    "other cpu": DeviceHere("cpu", "A processor", 8),
}
VERSIONS = st.builds(
    builders.versions, torch=st.sampled_from("12"), driver=st.sampled_from(["1", "2", None])
)
RUNS = st.lists(
    st.builds(
        a_run,
        repeat=st.integers(0, 5),
        variant=st.sampled_from(["v", "w"]),
        image=st.sampled_from(["page.png", "other.png"]),
        device=st.sampled_from(list(DEVICES.values())),
        versions=VERSIONS,
        protocol=st.sampled_from([records.PROTOCOL, 1]),
        model=st.builds(builders.model, fingerprint=st.sampled_from("fg")),
        page=st.builds(builders.page, sha256=st.sampled_from("ab")),
        settings=st.sampled_from([recorded(), recorded() | {"warmup": 9}]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda run: run.name,
)


@given(
    made=RUNS,
    device=st.sampled_from(list(DEVICES)),
    stale=st.sampled_from(list(DEVICES)),
    measured_at=st.sampled_from(["1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z"]),
    installed=VERSIONS,
    cluster=st.booleans(),
)
def test_measuring_again_what_is_named_ends_every_mixture_in_one_round(
    made: list[Origin],
    device: str,
    stale: str,
    measured_at: str,
    installed: records.Versions,
    cluster: bool,
) -> None:
    measures = DEVICES[device]
    ceiling = builders.ceiling(
        # What measures on a cluster is known from there alone.
        device=measures if cluster else DEVICES[stale],
        measured_at=measured_at,
        versions=installed,
    )
    now = Present(
        here=None if cluster else PLACES[device],
        ceiling=ceiling,
        # Whoever submits has a driver of his own.
        installed=lambda: replace(installed, driver="7") if cluster else installed,
        settings={"v": asked(), "w": asked()},
        pages={"page.png": "a", "other.png": "b"},
    )

    def again(run: Origin) -> Origin:
        return replace(
            run,
            protocol=records.PROTOCOL,
            device=measures,
            versions=installed,
            model=builders.model(fingerprint="f"),
            page=builders.page(sha256=now.pages[run.image]),
            settings=recorded(),
        )

    found = find_mixture(made, now)
    if found is None:
        return
    assert found.redo or found.ceiling
    # Never what would be measured so again.
    assert [run for run in found.redo if run == again(run)] == []
    after = [again(run) if run in found.redo else run for run in made]
    if found.ceiling:
        now = replace(now, ceiling=builders.ceiling(device=measures, versions=installed))
    assert find_mixture(after, now) is None
