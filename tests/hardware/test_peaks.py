"""Peaks by name, precision and override."""

from dataclasses import replace

import pytest
from builders import ceiling, gpu

from mfuscope.core.errors import UserError
from mfuscope.hardware.peaks import _table, find_peak, resolve_hardware


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
