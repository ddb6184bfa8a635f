"""Boundaries of the stages, on a model whose parts take known times."""

import time
from typing import Any

import pytest
import torch
from torch import nn

from mfuscope.measure.stages import StageTimer
from mfuscope.models.parts import find_parts

CPU = torch.device("cpu")
NAP = 0.004


class Nap(nn.Module):
    """A part that takes its time."""

    def __init__(self, naps: int) -> None:
        super().__init__()
        self.naps = naps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.naps * NAP)
        return x + 1


class Toy(nn.Module):
    """As transformers 5 does: vision before the first forward, then one forward per token."""

    def __init__(self, surplus: int = 0) -> None:
        super().__init__()
        self.vision_tower = Nap(4)
        self.multi_modal_projector = Nap(2)
        self.language_model = Nap(3)
        self.surplus = surplus

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.language_model(x)
        return out

    def generate(self, tokens: int) -> None:
        x = torch.zeros(1)
        for _ in range(2):
            x = self.multi_modal_projector(self.vision_tower(x))
        for _ in range(tokens + self.surplus):
            x = self(x)
            time.sleep(NAP)  # the choice of a token


def measure(model: Toy, tokens: int) -> Any:
    timer = StageTimer(model, CPU)
    with timer.measure():
        model.generate(tokens)
    assert not model._forward_hooks, "hooks must not outlive the measurement"
    assert not model._forward_pre_hooks
    return timer.times(tokens)


def naps(milliseconds: float) -> float:
    return milliseconds / 1e3 / NAP


def test_stages_and_their_parts() -> None:
    times = measure(Toy(), 3)
    assert naps(times.vision_ms) >= 8
    assert naps(times.projector_ms) >= 4
    assert 3 <= naps(times.language_prefill_ms) < naps(times.prefill_ms) - 12
    assert naps(times.prefill_ms) >= 15
    # Three choices of a token and two forwards.
    assert naps(times.decode_ms) >= 9
    assert len(times.step_ms) == 2
    assert all(naps(step) >= 4 for step in times.step_ms)
    # The first token's choice lies in decode but in no step.
    assert naps(times.decode_ms - sum(times.step_ms)) >= 1
    parts = times.vision_ms + times.projector_ms + times.language_prefill_ms
    assert parts <= times.prefill_ms
    assert times.prefill_ms + times.decode_ms <= times.host_ms
    assert times.forwards == 3


def test_one_token_has_no_step() -> None:
    times = measure(Toy(), 1)
    assert times.step_ms == []
    assert naps(times.decode_ms) >= 1


def test_a_surplus_forward_is_left_out() -> None:
    times = measure(Toy(surplus=1), 3)
    assert times.forwards == 4
    assert len(times.step_ms) == 2
    whole = measure(Toy(), 4)
    assert times.decode_ms < whole.decode_ms


def test_fewer_forwards_than_tokens_are_refused() -> None:
    model = Toy()
    timer = StageTimer(model, CPU)
    with timer.measure():
        model.generate(2)
    with pytest.raises(RuntimeError, match="2 forwards made 3 tokens"):
        timer.times(3)


def test_an_error_inside_leaves_nothing_behind() -> None:
    class Broken(Toy):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of memory")

    model = Broken()
    timer = StageTimer(model, CPU)
    with pytest.raises(RuntimeError, match="out of memory"), timer.measure():
        model.generate(1)
    assert not model._forward_hooks
    assert not timer._ranges._open


def test_ranges_are_nested_annotations() -> None:
    model = Toy()
    timer = StageTimer(model, CPU)
    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recording,
        timer.measure(),
    ):
        model.generate(3)
    spans: dict[str, list[tuple[float, float]]] = {}
    for event in recording.events():
        range_ = event.time_range
        spans.setdefault(event.name, []).append((range_.start, range_.end))
    assert len(spans["vision"]) == len(spans["projector"]) == 2
    assert len(spans["language_prefill"]) == 1
    ((prefill_start, prefill_end),) = spans["prefill"]
    ((decode_start, decode_end),) = spans["decode"]
    assert prefill_end <= decode_start
    for name in ("vision", "projector", "language_prefill"):
        assert all(prefill_start <= a and b <= prefill_end for a, b in spans[name])
    steps = [spans[f"decode_step[{i}]"][0] for i in range(2)]
    assert "decode_step[2]" not in spans
    assert decode_start <= steps[0][0]
    assert steps[0][1] <= steps[1][0]
    assert steps[1][1] <= decode_end


def test_parts_are_the_shallowest_of_a_known_name() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision_model = nn.Linear(1, 1)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrapped = Inner()
            self.vision_model = nn.Linear(1, 1)
            self.text_model = nn.Linear(1, 1)

    model = Outer()
    assert find_parts(model) == {
        "vision": model.vision_model,
        "language_prefill": model.text_model,
    }
