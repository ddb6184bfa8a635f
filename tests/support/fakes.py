"""A model, a session and an NVML driver whose times and answers are known."""

from collections.abc import Callable
from typing import Any

import pynvml
import pytest
import torch
from builders import HOST, cpu, gpu, model, versions
from torch import nn

from mfuscope.config.settings import ModelSettings
from mfuscope.core.records import Device, Prompt
from mfuscope.measure.session import Generation
from mfuscope.models.inputs import PageInputs

CPU = torch.device("cpu")


class ToyVision(nn.Module):
    """Takes pixels, as a vision encoder does."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return pixel_values + 1


class ToyLanguage(nn.Module):
    """Takes what a language model takes, and has layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity()])

    def forward(
        self, inputs_embeds: torch.Tensor, input_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        return inputs_embeds + 1


class Toy(nn.Module):
    """Vision before the first forward, then one forward per token; some parts never run."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.vision_tower = ToyVision()
        self.multi_modal_projector = nn.Linear(1, 1)  # never runs
        self.language_model = ToyLanguage()
        self.fails = fails

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fails:
            raise RuntimeError("out of memory")
        out: torch.Tensor = self.language_model(x)
        return out

    def generate(self, tokens: int, on_logits: Callable[[], None]) -> None:
        x = self.vision_tower(torch.zeros(1))
        for _ in range(tokens):
            x = self(x)
            on_logits()


class FakeSession:
    """A session whose model is a toy and whose tokens are given, one list per pass."""

    def __init__(
        self,
        passes: list[list[int]],
        facts: Device | None = None,
        during: Callable[[], None] = lambda: None,
    ) -> None:
        self.device = CPU
        self.facts = facts or cpu()
        self.versions = versions()
        self.commit, self.no_commit = "0123456789ab", ""
        self.settings = ModelSettings("toy", "auto", "auto", "sdpa", "Free OCR.", "auto", "none", 0)
        self.description = model()
        self.model = Toy()
        self.positions: int | None = None
        self.warmed_up: dict[object, Any] = {}
        self.compilation: Any = None
        self.end_tokens = frozenset({0})
        self.runs = 0
        self.process, self.host = "0123456789ab", HOST
        self.references: dict[object, Any] = {}
        self.blank = PageInputs({}, prompt_tokens=7, image_tokens=5, resolution="512")
        self._passes = iter(passes)
        self._during = during

    def inputs(self, page: object, mode: str) -> PageInputs:
        return PageInputs({}, prompt_tokens=7, image_tokens=5, resolution="512")

    def prompt(self, page: PageInputs) -> Prompt:
        return Prompt(before="<s>", image="<image>", images=5, after="?")

    def blank_inputs(self, resolution: str, size: tuple[int, int] | None = None) -> PageInputs:
        assert resolution == self.blank.resolution
        return self.blank

    def generate(
        self,
        page: PageInputs,
        generation: Generation,
        *,
        most_tokens: int | None = None,
        on_logits: Callable[[], None] = lambda: None,
    ) -> torch.Tensor:
        tokens = [0] if page is self.blank else next(self._passes)
        self.model.generate(len(tokens), on_logits)
        if page is not self.blank:
            self._during()
        return torch.tensor([tokens] * generation.batch_size)


class FakeNvml:
    """One GPU as NVML would report it."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.energy_mj = 1_000_000
        self.power_mw = 350_500
        self.throttle_bits = 0
        self.gone = False

    def handle(self, uuid: str) -> str:
        if self.gone:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        assert uuid == self.uuid
        return f"handle of {uuid}"

    def answer(self, value: Callable[[], object]) -> Callable[..., object]:
        def query(handle: str, *_: object) -> object:
            assert handle == f"handle of {self.uuid}"
            return value()

        return query


def install_nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Replace pynvml's functions by a fake GPU's."""
    fake = FakeNvml(str(gpu().uuid))
    clocks = {pynvml.NVML_CLOCK_SM: 1755, pynvml.NVML_CLOCK_MEM: 2619}
    functions: dict[str, Callable[..., object]] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": fake.handle,
        "nvmlDeviceGetClockInfo": lambda handle, clock: clocks[clock],
        "nvmlDeviceGetTemperature": fake.answer(lambda: 41),
        "nvmlDeviceGetPowerUsage": fake.answer(lambda: fake.power_mw),
        "nvmlDeviceGetCurrentClocksThrottleReasons": fake.answer(lambda: fake.throttle_bits),
        "nvmlDeviceGetTotalEnergyConsumption": fake.answer(lambda: fake.energy_mj),
    }
    for name, function in functions.items():
        monkeypatch.setattr(pynvml, name, function)
    return fake
