"""Conditions of a GPU as NVML reports them: units, throttle reasons, absent values."""

import pynvml
import pytest
from fakes import FakeNvml, install_nvml

from mfuscope.hardware import nvml

BITS = {
    0: [],
    0x1: [],  # idle: no reason to distrust a figure
    0x4: ["sw_power_cap"],
    0x4 | 0x20: ["sw_power_cap", "sw_thermal_slowdown"],
}


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return install_nvml(monkeypatch)


def test_conditions_are_in_their_units(fake_nvml: FakeNvml) -> None:
    state = nvml.read_conditions(fake_nvml.uuid)
    assert (state.sm_clock_mhz, state.memory_clock_mhz) == (1755, 2619)
    assert state.temperature_c == 41
    assert state.power_w == 350.5
    assert state.throttle_reasons == []
    assert state.absent == {}


@pytest.mark.parametrize("bits", BITS)
def test_throttle_reasons_are_the_bits_that_are_set(bits: int, fake_nvml: FakeNvml) -> None:
    fake_nvml.throttle_bits = bits
    assert nvml.read_conditions(fake_nvml.uuid).throttle_reasons == BITS[bits]


def test_only_what_a_card_does_not_report_is_absent(
    fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerUsage", refuse)
    state = nvml.read_conditions(fake_nvml.uuid)
    assert state.power_w is None
    assert state.absent == {"power_w": "NVML: Not Supported"}
    assert state.temperature_c == 41
