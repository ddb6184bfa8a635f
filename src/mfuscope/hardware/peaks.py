"""Peaks of a device: from an override, from the table, estimated, or measured (CPUs).

The table is peaks.csv: one row per device with dense peaks, their source and how reliable it is.
"""

import csv
import re
from functools import cache
from importlib.resources import files

from mfuscope.core.errors import UserError
from mfuscope.core.records import Ceiling, Device, Hardware, Peak

# Dense FLOPs per SM and clock of 16-bit tensor cores with fp32 accumulation, by compute capability,
# for estimates of unlisted cards. GeForce cards accumulate in fp32 at half the rate.
_TENSOR_FLOPS_PER_SM_CLOCK = {
    "7.0": 1024,
    "7.5": 1024,
    "8.0": 2048,
    "8.6": 1024,
    "8.9": 1024,
    "8.7": 2048,
    "9.0": 4096,
    "10.0": 8192,
    "10.3": 8192,
    "11.0": 8192,
    "12.0": 1024,
    "12.1": 1024,
}
_FIRST_WITH_BF16 = (8, 0)
_FP32_FLOPS_PER_SM_CLOCK = {"7.0": 128, "7.5": 128, "8.0": 128}
_FP32_DEFAULT = 256

_MIG = re.compile(r"(?P<card>.+?) MIG (?:\d+c\.)?(?P<slices>\d+)g\.(?P<gigabytes>\d+)gb\S*")


@cache
def _table() -> list[dict[str, str]]:
    text = files("mfuscope.hardware").joinpath("peaks.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def find_peak(name: str) -> dict[str, str] | None:
    """The row of the table for a device's name, None for an unlisted device.

    A MIG slice gets the row of its card.
    """
    mig = _MIG.fullmatch(name)
    card = mig["card"] if mig else name
    return next((row for row in _table() if re.search(row["name_pattern"], card)), None)


def resolve_hardware(ceiling: Ceiling, override_tflops: float | None) -> Hardware:
    """The peaks that utilisation is computed with.

    Args:
        ceiling: the device and its measured ceiling.
        override_tflops: the setting `peak_tflops`, which replaces the peak of the precision that
            the settings ask for.

    Raises:
        UserError: neither table nor estimate has a peak for this precision.
    """
    row = find_peak(ceiling.device.name) if ceiling.device.kind == "cuda" else None
    peaks = {}
    for precision in ceiling.precisions:
        if override_tflops is not None and precision == ceiling.precision:
            detail = "the setting peak_tflops (MFU_PEAK_TFLOPS)"
            peaks[precision] = Peak(tflops=override_tflops, source="override", detail=detail)
        else:
            found = _peak(row, precision, ceiling)
            if found is not None:
                peaks[precision] = found
    if ceiling.precision not in peaks:
        raise UserError(
            f"peak_tflops: no {ceiling.precision} peak is known of {ceiling.device.name!r}, by the "
            "table of devices or by an estimate",
            "set `dtype: auto`, or `peak_tflops` (MFU_PEAK_TFLOPS) to its dense peak",
        )
    bandwidth, bandwidth_source, bandwidth_detail = _bandwidth(row, ceiling)
    peak = peaks[ceiling.precision]
    return Hardware(
        device=ceiling.device,
        versions=ceiling.versions,
        precision=ceiling.precision,
        precision_reason=ceiling.precision_reason,
        peak_tflops=peak.tflops,
        peak_source=peak.source,
        peak_detail=peak.detail,
        peaks=peaks,
        bandwidth_gbs=bandwidth,
        bandwidth_source=bandwidth_source,
        bandwidth_detail=bandwidth_detail,
    )


_COLUMNS = {"bf16": "bf16_tflops_dense", "fp16": "fp16_tflops_dense", "fp32": "fp32_tflops"}


def _peak(row: dict[str, str] | None, precision: str, ceiling: Ceiling) -> Peak | None:
    device = ceiling.device
    if device.kind == "cpu":
        shape = "x".join(map(str, ceiling.gemm_shape[precision]))
        detail = (
            f"best {precision} matrix product ({shape}) on {device.threads} threads, as the "
            "theoretical peaks of CPUs are not tabulated"
        )
        return Peak(tflops=ceiling.gemm_tflops[precision], source="measured", detail=detail)
    if row and row[_COLUMNS[precision]]:
        share, of = _compute_share(row, device)
        detail = f"{of}{row['source']} (confidence: {row['confidence']})"
        return Peak(tflops=float(row[_COLUMNS[precision]]) * share, source="table", detail=detail)
    return _estimate(device, precision)


def _compute_share(row: dict[str, str], device: Device) -> tuple[float, str]:
    """A MIG slice's share of its card's SMs, and a text for the detail."""
    mig = _MIG.fullmatch(device.name)
    if mig is None:
        return 1.0, ""
    if not device.sm_count:
        slices = int(mig["slices"])
        return slices / 7, f"{slices} of 7 slices of "
    total = int(row["sm_count"])
    return device.sm_count / total, f"{device.sm_count} of {total} SMs of "


def _memory_share(row: dict[str, str], device: Device) -> tuple[float, str]:
    """A MIG slice's share of its card's memory and bandwidth, and a text for the detail."""
    mig = _MIG.fullmatch(device.name)
    if mig is None:
        return 1.0, ""
    total, own = float(row["memory_gb"]), float(mig["gigabytes"])
    # Slices come in eighths of the memory; their names round.
    eighths = 8 if mig["slices"] == "7" else max(1, round(8 * own / total))
    return eighths / 8, f"{eighths} of 8 parts of the memory of "


def _estimate(device: Device, precision: str) -> Peak | None:
    if not device.name.startswith(("NVIDIA", "Tesla", "Quadro", "GeForce")):
        return None  # other vendors number their compute capabilities differently
    capability = device.compute_capability or ""
    if precision == "fp32":
        per_clock: int | None = _FP32_FLOPS_PER_SM_CLOCK.get(capability, _FP32_DEFAULT)
    elif precision == "bf16" and _version(capability) < _FIRST_WITH_BF16:
        return None  # bf16 is emulated there and has no peak
    else:
        per_clock = _TENSOR_FLOPS_PER_SM_CLOCK.get(capability)
        if per_clock is not None and "GeForce" in device.name:
            per_clock //= 2
    if per_clock is None or not device.sm_count or not device.sm_clock_max_mhz:
        return None
    tflops = device.sm_count * per_clock * device.sm_clock_max_mhz * 1e6 / 1e12
    detail = (
        f"{device.sm_count} SMs x {per_clock} FLOPs per clock x {device.sm_clock_max_mhz:.0f} MHz "
        "(highest SM clock): the device is not in the table"
    )
    return Peak(tflops=tflops, source="estimated", detail=detail)


def _version(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split(".") if part.isdigit())


def _bandwidth(row: dict[str, str] | None, ceiling: Ceiling) -> tuple[float, str, str]:
    if row and row["memory_bandwidth_gbs"]:
        share, of = _memory_share(row, ceiling.device)
        detail = f"{of}{row['source']} (confidence: {row['confidence']})"
        return float(row["memory_bandwidth_gbs"]) * share, "table", detail
    detail = f"copy of {ceiling.copy_bytes / 1e9:.1f} GB, bytes read and written"
    return ceiling.copy_gbs, "measured", detail
