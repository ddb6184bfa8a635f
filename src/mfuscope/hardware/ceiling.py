"""The measured ceiling of a device: matrix products per dtype, and copies."""

import math
import time
from collections.abc import Callable
from functools import partial

import torch

from mfuscope.core.dtypes import TORCH_NAMES, torch_dtype
from mfuscope.core.records import Ceiling
from mfuscope.core.versions import software_versions
from mfuscope.hardware.clocks import device_clock
from mfuscope.hardware.devices import describe_device, pick_precision, use_device
from mfuscope.hardware.nvml import driver_version
from mfuscope.hardware.threads import measuring_threads

_GPU_SIZES = (2048, 4096, 8192)
_CPU_SIZES = (512, 1024, 2048)
_SECONDS_PER_SIZE = {"cuda": 2.0, "cpu": 0.6}
_WINDOWS = 4
_COPY_BYTES = {"cuda": 2 << 30, "cpu": 256 << 20}


def measure_ceiling(device_name: str, dtypes: list[str]) -> Ceiling:
    """Measure a device.

    Args:
        device_name: ``cpu``, ``cuda`` or ``cuda:N``.
        dtypes: the dtype settings in use (may be ``auto``), that of the base settings first.

    Raises:
        UserError: torch cannot use the device, or it lacks a precision.
    """
    torch.set_num_threads(measuring_threads())  # as many as runs use
    device = torch.device(device_name)
    facts = describe_device(device_name)  # first, as its errors are readable
    use_device(device)
    picks = dict(pick_precision(dtype, facts) for dtype in dtypes)
    precisions = list(picks)
    # On a CPU, 16-bit products may take minutes: only the precisions in use are measured.
    names = list(TORCH_NAMES) if facts.kind == "cuda" else precisions
    tflops: dict[str, float] = {}
    shapes: dict[str, list[int]] = {}
    for name in names:
        tflops[name], side = _best_gemm(device, torch_dtype(name))
        shapes[name] = [side, side, side]
    gbs, size = _copy_gbs(device)
    skipped = [name for name in TORCH_NAMES if name not in names]
    return Ceiling(
        measured_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        device=facts,
        versions=software_versions(driver_version()),
        precision=precisions[0],
        precision_reason=picks[precisions[0]],
        precisions=precisions,
        gemm_tflops=tflops,
        gemm_shape=shapes,
        copy_gbs=gbs,
        copy_bytes=size,
        absent={f"gemm_tflops.{name}": "not in use on this CPU" for name in skipped},
    )


def _best_gemm(device: torch.device, dtype: torch.dtype) -> tuple[float, int]:
    """Best sustained TFLOP/s of square products, and the side length that reached it."""
    best, best_side = 0.0, 0
    for side in _GPU_SIZES if device.type == "cuda" else _CPU_SIZES:
        # Random values: zeros would draw less power and allow higher clocks than a model's values.
        a = torch.randn(side, side, device=device, dtype=torch.float32).to(dtype)
        b = torch.randn(side, side, device=device, dtype=torch.float32).to(dtype)
        out = torch.empty(side, side, device=device, dtype=dtype)
        seconds = _seconds_per_call(device, partial(torch.mm, a, b, out=out))
        tflops = 2 * side**3 / seconds / 1e12
        if tflops > best:
            best, best_side = tflops, side
    return best, best_side


def _copy_gbs(device: torch.device) -> tuple[float, int]:
    """GB/s of a copy within the device's memory (bytes read and written), and its size."""
    size = _COPY_BYTES[device.type]
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        size = min(size, free // 8)  # two buffers, on a card that other processes may use
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _seconds_per_call(device, partial(target.copy_, source))
    return 2 * size / seconds / 1e9, size


def _seconds_per_call(device: torch.device, call: Callable[[], object]) -> float:
    """Seconds per call in the fastest of several windows.

    Other processes can only make a window slower. Each window is long enough for the sustained
    speed instead of a burst.
    """
    clock = device_clock(device)
    for _ in range(2):
        call()
    clock.synchronise()
    started = time.perf_counter()
    call()
    clock.synchronise()
    window = _SECONDS_PER_SIZE[device.type] / _WINDOWS
    repeats = max(2, min(1000, int(window / max(time.perf_counter() - started, 1e-6))))
    best = math.inf
    for _ in range(_WINDOWS):
        start = clock.mark()
        for _ in range(repeats):
            call()
        end = clock.mark()
        clock.synchronise()
        best = min(best, clock.elapsed_ms(start, end) / 1000 / repeats)
    return best
