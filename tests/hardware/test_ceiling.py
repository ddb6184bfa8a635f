"""The measured ceiling, with known times."""

from types import SimpleNamespace

import pytest
import torch

from mfuscope.hardware import ceiling
from mfuscope.hardware.peaks import resolve_hardware
from mfuscope.hardware.threads import measuring_threads

CPU = torch.device("cpu")


def test_a_product_has_two_flops_per_multiplication(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "_CPU_SIZES", (4, 8))
    monkeypatch.setattr(ceiling, "_seconds_per_call", lambda device, call: 1e-6)
    tflops, side = ceiling._best_gemm(CPU, torch.float32)
    assert side == 8
    assert tflops == pytest.approx(2 * 8 * 8 * 8 / 1e-6 / 1e12)


def test_the_best_size_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "_CPU_SIZES", (4, 8, 16))
    seconds = iter([1e-6, 2e-6, 1.0])
    monkeypatch.setattr(ceiling, "_seconds_per_call", lambda device, call: next(seconds))
    tflops, side = ceiling._best_gemm(CPU, torch.float32)
    assert side == 8
    assert tflops == pytest.approx(2 * 8 * 8 * 8 / 2e-6 / 1e12)


def test_a_copy_reads_and_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "_COPY_BYTES", {"cpu": 5000})
    monkeypatch.setattr(ceiling, "_seconds_per_call", lambda device, call: 1e-6)
    gbs, size = ceiling._copy_gbs(CPU)
    assert size == 5000
    assert gbs == pytest.approx(2 * 5000 / 1e-6 / 1e9)


class WindowClock:
    """A clock whose windows take given milliseconds."""

    def __init__(self, windows: list[float]) -> None:
        self._windows = iter(windows)
        self._waited = False

    def mark(self) -> None:
        self._waited = False

    def synchronise(self) -> None:
        self._waited = True

    def elapsed_ms(self, start: None, end: None) -> float:
        assert self._waited, "read before the device was there"
        return next(self._windows)


def test_the_best_window_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = WindowClock([5.0, 4.0, 2.0, 3.0])
    instants = iter([0.0, 0.05])  # one call takes 50 ms: a window has two
    monkeypatch.setattr(ceiling, "device_clock", lambda device: clock)
    monkeypatch.setattr(ceiling, "time", SimpleNamespace(perf_counter=lambda: next(instants, 0.05)))
    calls: list[None] = []
    seconds = ceiling._seconds_per_call(CPU, lambda: calls.append(None))
    assert len(calls) == 2 + 1 + 4 * 2
    assert seconds == pytest.approx(0.002 / 2)


def test_the_device_is_current_before_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[object] = []

    def gemm(device: torch.device, dtype: torch.dtype) -> tuple[float, int]:
        log.append(dtype)
        return 1.0, 512

    def copy(device: torch.device) -> tuple[float, int]:
        log.append("copy")
        return 10.0, 1000

    monkeypatch.setattr(ceiling, "use_device", log.append)
    monkeypatch.setattr(ceiling, "_best_gemm", gemm)
    monkeypatch.setattr(ceiling, "_copy_gbs", copy)
    measured = ceiling.measure_ceiling("cpu", ["bf16", "auto"])
    assert log == [CPU, torch.bfloat16, torch.float32, "copy"]
    assert (measured.precision, measured.precisions) == ("bf16", ["bf16", "fp32"])
    assert measured.gemm_shape == {"bf16": [512, 512, 512], "fp32": [512, 512, 512]}
    assert measured.absent == {"gemm_tflops.fp16": "not in use on this CPU"}


def test_a_cpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "_CPU_SIZES", (128, 256))
    monkeypatch.setattr(ceiling, "_SECONDS_PER_SIZE", {"cpu": 0.1})
    monkeypatch.setattr(ceiling, "_COPY_BYTES", {"cpu": 1 << 24})
    measured = ceiling.measure_ceiling("cpu", ["auto"])
    assert measured.precisions == ["fp32"]
    assert measured.device.threads == measuring_threads()
    assert measured.gemm_tflops["fp32"] > 0.001
    assert measured.copy_gbs > 0.1
    hardware = resolve_hardware(measured, None)
    assert (hardware.peak_source, hardware.bandwidth_source) == ("measured", "measured")
    assert hardware.peak_tflops == measured.gemm_tflops["fp32"]
