"""Peaks by name, precision and override; the measured ceiling of a CPU; devices in the plan."""

from dataclasses import replace

import pynvml
import pytest
from builders import ceiling, gpu

from mfuscope.core.errors import UserError
from mfuscope.core.records import Conditions
from mfuscope.hardware import nvml
from mfuscope.hardware.ceiling import measure_ceiling
from mfuscope.hardware.devices import (
    DeviceHere,
    check_device_here,
    device_here,
    device_in_words,
    handed_over,
    pick_precision,
    plan_device,
)
from mfuscope.hardware.peaks import _table, find_peak, resolve_hardware
from mfuscope.hardware.threads import measuring_threads


def test_the_device_here_is_the_one_that_is_measured() -> None:
    here = device_here("cpu")
    assert here is not None
    device = measure_ceiling("cpu", ["fp32"]).device
    assert here.may_be(device)
    assert not here.may_be(replace(device, threads=device.threads + 1))
    assert not here.may_be(replace(device, name="Another"))
    assert not here.may_be(replace(device, kind="cuda"))


def test_the_gpu_here_is_the_one_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [nvml.Gpu("GPU-1", "NVIDIA L4"), nvml.Gpu("GPU-2", "NVIDIA H100"), nvml.Gpu("M", "MIG")]
    monkeypatch.setattr(nvml, "visible_gpus", lambda: (gpus, ""))
    names = [here and here.name for here in map(device_here, ("cuda", "cuda:0", "cuda:1"))]
    assert names == ["NVIDIA L4", "NVIDIA L4", "NVIDIA H100"]
    assert device_here("cuda:2") is None, "of a slice NVML tells no model here"
    assert device_here("cuda:3") is None
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([], "no driver"))
    assert device_here("cuda") is None, "a cluster's nodes have it"


def test_jobs_are_told_the_device_here() -> None:
    told = {"MFUSCOPE_DEVICE_HERE": '{"kind": "cpu", "name": "A processor", "threads": 2}'}
    assert handed_over(told) == DeviceHere("cpu", "A processor", 2)
    assert handed_over({"MFUSCOPE_DEVICE_HERE": "null"}) is None
    assert handed_over({}) is None


@pytest.mark.parametrize(
    ("name", "bf16", "bandwidth"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4, 3352),
        ("NVIDIA H200", 989.4, 4800),
        ("NVIDIA GeForce RTX 4090", 165.2, 1008),
        ("NVIDIA A100-SXM4-80GB", 312, 2039),
        ("NVIDIA A100-SXM4-40GB", 312, 1555),
        ("NVIDIA A100 80GB PCIe", 312, 1935),
        ("NVIDIA A100-PCIE-40GB", 312, 1555),
        ("NVIDIA L4", 121, 300),
    ],
)
def test_peaks_come_from_the_table(name: str, bf16: float, bandwidth: float) -> None:
    hardware = resolve_hardware(ceiling(device=gpu(name=name)), None)
    assert (hardware.peak_tflops, hardware.peak_source) == (bf16, "table")
    assert (hardware.bandwidth_gbs, hardware.bandwidth_source) == (bandwidth, "table")
    assert "confidence" in hardware.peak_detail


def test_cards_without_bf16_have_no_bf16_peak() -> None:
    turing = ceiling(device=gpu(name="Tesla T4", compute_capability="7.5"))
    with pytest.raises(UserError, match="peak_tflops"):
        resolve_hardware(replace(turing, precision="bf16", precisions=["bf16"]), None)
    fp16 = resolve_hardware(replace(turing, precision="fp16", precisions=["fp16"]), None)
    assert (fp16.peak_tflops, fp16.peak_source) == (65, "table")


def test_a_mig_slice_is_a_part_of_its_card() -> None:
    name = "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    hardware = resolve_hardware(ceiling(device=gpu(name=name, sm_count=42)), None)
    assert hardware.peak_tflops == pytest.approx(312 * 42 / 108)
    assert hardware.bandwidth_gbs == pytest.approx(1555 / 2)
    assert "42 of 108 SMs" in hardware.peak_detail
    by_name = gpu(name=name, sm_count=None)
    assert resolve_hardware(ceiling(device=by_name), None).peak_tflops == pytest.approx(312 * 3 / 7)
    small = gpu(name="NVIDIA H100 80GB HBM3 MIG 1g.10gb", sm_count=16)
    hardware = resolve_hardware(ceiling(device=small), None)
    assert hardware.peak_tflops == pytest.approx(989.4 * 16 / 132)
    assert hardware.bandwidth_gbs == pytest.approx(3352 / 8)


# FLOPs per SM (or CU) and clock of 16-bit matrix units with fp32 accumulation, by generation.
RATES = {
    "7.0": 1024,
    "7.5": 1024,
    "8.0": 2048,
    "8.6": 1024,
    "8.7": 2048,
    "8.9": 1024,
    "9.0": 4096,
    "10.0": 8192,
    "10.3": 8192,
    "11.0": 8192,
    "12.0": 1024,
    "12.1": 1024,
    "gfx90a": 1024,
    "gfx942": 2048,
    "gfx950": 4096,
}
# Cards whose tensor cores were cut, by what the table itself says of them or its sources measured.
HALVED = ("A10G", "L40", "L20")
QUARTERED = ("H20", "H20-3e")


def plain(row: dict[str, str]) -> str:
    """A row's name without the pattern around it."""
    return row["name_pattern"].removeprefix("^(?:NVIDIA )?").removesuffix("$")


def test_no_row_is_off_its_arithmetic() -> None:
    """SMs x clock x rate; a sparse figure would be off by a hundred percent."""
    off, circular = [], []
    for row in _table():
        name, rate = plain(row), float(RATES[row["compute_capability"]])
        if "GeForce" in name or name in HALVED:
            rate /= 2
        if name in QUARTERED:
            rate /= 4
        expected = int(row["sm_count"]) * float(row["boost_mhz"]) * 1e6 * rate / 1e12
        eighth = 4 if "GeForce RTX 50" in name else 2  # fp8 there: see the row's own note
        # Every 16-bit, TF32 and FP8 figure of the row, from one arithmetic.
        for column, factor in (
            ("bf16_tflops_dense", 1.0),
            ("fp16_tflops_dense", 1.0),
            ("tf32_tflops_dense", 0.5),
            ("fp8_tflops_dense", eighth),
        ):
            if row[column] and abs(float(row[column]) / (expected * factor) - 1) > 0.03:
                off.append(f"{name} {column}: {row[column]}, {expected * factor:.1f} by arithmetic")
        if "circular" in row["accumulate_note"]:
            circular.append(name)
    assert len(_table()) == 90
    assert off == []
    # Rows whose clock was found from the peak: there the arithmetic shows the kind of figure only.
    assert len(circular) == 11


def test_every_row_has_a_source_and_a_confidence() -> None:
    for row in _table():
        assert row["source"], row
        assert row["confidence"] in ("high", "medium", "low"), row


def test_an_override_wins() -> None:
    hardware = resolve_hardware(ceiling(), 123.0)
    assert (hardware.peak_tflops, hardware.peak_source) == (123.0, "override")
    assert hardware.peaks["bf16"].tflops == 123.0


def test_an_override_is_of_the_precision_asked_for() -> None:
    both = ceiling(precision="bf16", precisions=["bf16", "fp32"])
    hardware = resolve_hardware(both, 123.0)
    assert {name: peak.source for name, peak in hardware.peaks.items()} == {
        "bf16": "override",
        "fp32": "table",
    }


def test_unlisted_cards_are_estimated() -> None:
    unlisted = gpu(name="NVIDIA H1000", sm_count=100, sm_clock_max_mhz=2000.0)
    hardware = resolve_hardware(ceiling(device=unlisted), None)
    assert hardware.peak_source == "estimated"
    assert hardware.peak_tflops == pytest.approx(100 * 4096 * 2e9 / 1e12)
    assert hardware.bandwidth_source == "measured"
    unknown = gpu(name="NVIDIA H1000", compute_capability="99.0")
    with pytest.raises(UserError, match=r"peak_tflops.*MFU_PEAK_TFLOPS"):
        resolve_hardware(ceiling(device=unknown), None)
    assert resolve_hardware(ceiling(device=unknown), 5.0).peak_tflops == 5.0


def test_similar_names_do_not_match() -> None:
    assert find_peak("NVIDIA H100 80GB HBM3x") is None
    assert find_peak("AMD Ryzen") is None


def test_precision() -> None:
    assert pick_precision("auto", gpu())[0] == "bf16"
    assert pick_precision("auto", gpu(compute_capability="7.5"))[0] == "fp16"
    assert pick_precision("fp32", gpu()) == ("fp32", "the setting dtype")
    assert pick_precision("bf16", gpu()) == ("bf16", "the setting dtype")
    # A job's own: where it was submitted, its GPU was not known.
    with pytest.raises(UserError, match=r"dtype: 'bf16' needs .* the Tesla T4 lacks .*7\.5"):
        pick_precision("bf16", gpu(name="Tesla T4", compute_capability="7.5"))


def test_a_cpu_is_measured() -> None:
    measured = measure_ceiling("cpu", ["auto"])
    assert measured.precisions == ["fp32"]
    assert measured.device.threads == measuring_threads()
    assert measured.gemm_tflops["fp32"] > 0.001
    assert measured.copy_gbs > 0.1
    hardware = resolve_hardware(measured, None)
    assert (hardware.peak_source, hardware.bandwidth_source) == ("measured", "measured")
    assert hardware.peak_tflops == measured.gemm_tflops["fp32"]


GPUS = [nvml.Gpu(f"GPU-{index}{index}", "NVIDIA L4") for index in range(4)]


def test_the_planned_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "visible_gpus", lambda: (GPUS[:2], ""))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")
    assert [plan_device(s) for s in ("auto", "cpu", "cuda", "cuda:1")] == [
        "cuda",
        "cpu",
        "cuda",
        "cuda:1",
    ]
    with pytest.raises(UserError, match="'cuda:2' is not there, 2 CUDA GPUs are visible"):
        plan_device("cuda:2")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0+cpu")
    with pytest.raises(UserError, match=r"torch 2\.13\.0\+cpu is a build for CPUs"):
        plan_device("auto")
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([], "NVML: driver gone"))
    assert plan_device("auto") == "cpu"
    assert device_in_words("cpu") == "CPU, as no CUDA GPU is visible (NVML: driver gone)"
    with pytest.raises(UserError, match=r"'cuda:0' is not there, 0 .* visible .NVML: driver gone"):
        plan_device("cuda:0")
    with pytest.raises(UserError, match=r"torch 2\.13\.0\+cpu is a build for CPUs"):
        plan_device("cuda")


def test_a_gpu_may_be_planned_where_jobs_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([], "NVML: driver gone"))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")
    assert plan_device("cuda") == "cuda"
    with pytest.raises(UserError, match=r"'cuda' is not there, 0 .* visible .NVML: driver gone"):
        check_device_here("cuda")
    check_device_here("cpu")
    monkeypatch.setattr(nvml, "visible_gpus", lambda: (GPUS[:1], ""))
    check_device_here("cuda")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, "0123"),
        ("", ""),
        ("0", "0"),
        ("3, 2", "32"),
        ("0,9,1", "0"),  # one that is not there hides itself and all that follow
        ("GPU-2", "2"),
        ("GPU-", ""),  # could be any
        ("GPU-nowhere,1", ""),
        ("1,-1,2", "1"),
    ],
)
def test_visible_gpus(visible: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_initialise", lambda: "")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 4)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: GPUS[handle].uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: GPUS[handle].name)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    shown, reason = nvml.visible_gpus()
    assert shown == [GPUS[int(index)] for index in expected]
    assert bool(reason) == (not expected)


def test_a_mig_slice_is_visible_by_its_own_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_initialise", lambda: "")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5c2e")
    assert nvml.visible_gpus() == ([nvml.Gpu("MIG-5c2e", "MIG")], "")


def test_conditions_without_a_gpu_say_why() -> None:
    state = nvml.read_conditions(None)
    values = {f: getattr(state, f) for f in Conditions.__slots__ if f != "absent"}
    assert set(values.values()) == {None}
    assert state.absent == dict.fromkeys(values, "not a GPU")
    assert nvml.read_energy_mj(None) == (None, "not a GPU")
