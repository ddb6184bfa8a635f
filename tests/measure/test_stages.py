"""Boundaries of the stages, on a model whose parts take known times."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mfuscope.measure.stages import StageTimer

CPU = torch.device("cpu")
NAP = 0.004


class Vision(nn.Module):
    """Takes pixels, and its time."""

    def __init__(self, naps: int, within: nn.Module | None = None) -> None:
        super().__init__()
        self.naps = naps
        self.layers = nn.ModuleList([nn.Linear(1, 1)])
        self.within = within

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        time.sleep(self.naps * NAP)
        out = pixel_values + 1
        return out if self.within is None else self.within(out)


class Projector(nn.Linear):
    """Takes its time."""

    def __init__(self, naps: int) -> None:
        super().__init__(1, 1)
        self.naps = naps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.naps * NAP)
        return x + 1


class Language(nn.Module):
    """Takes embeddings, and its time."""

    def __init__(self, naps: int) -> None:
        super().__init__()
        self.naps = naps
        self.layers = nn.ModuleList([nn.Identity()])

    def forward(
        self, inputs_embeds: torch.Tensor, input_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        time.sleep(self.naps * NAP)
        return inputs_embeds + 1


class Toy(nn.Module):
    """As transformers 5 does: vision before the first forward, then one forward per token.

    A logits processor sees every forward's logits, and the model's own hooks see nothing.
    """

    def __init__(self, surplus: int = 0) -> None:
        super().__init__()
        self.tower = Vision(4)
        self.bridge: nn.Module = Projector(2)
        self.language = Language(3)
        self.surplus = surplus

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.language(x)
        return out

    def generate(self, tokens: int, on_logits: Callable[[], None]) -> None:
        x = torch.zeros(1)
        for _ in range(2):
            x = self.bridge(self.tower(x))
        for number in range(tokens + self.surplus):
            assert not hooked(self) or number == 0, "no hook on what may be compiled"
            x = self(x)
            on_logits()
            time.sleep(NAP)  # the choice of a token


def hooked(model: nn.Module) -> bool:
    return any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def measure(model: Toy, tokens: int, most_tokens: int | None = None) -> Any:
    timer = StageTimer(model, CPU, most_tokens or tokens)
    with timer.measure():
        assert not model._forward_hooks
        model.generate(tokens, timer.on_logits)
    assert not hooked(model), "hooks must not outlive the measurement"
    return timer.times(tokens)


def naps(milliseconds: float) -> float:
    return milliseconds / 1e3 / NAP


def test_stages_and_their_parts() -> None:
    times = measure(Toy(), 3)
    assert naps(times.vision_ms) >= 8
    assert naps(times.projector_ms) >= 4
    assert 3 <= naps(times.language_prefill_ms) < naps(times.prefill_ms) - 12
    assert naps(times.prefill_ms) >= 15
    # Two choices of a token, each with the forward after it.
    assert len(times.step_ms) == 2
    assert all(naps(step) >= 4 for step in times.step_ms)
    assert times.decode_ms == pytest.approx(sum(times.step_ms))
    # The last token's choice lies in no stage.
    assert naps(times.host_ms - times.prefill_ms - times.decode_ms) >= 1
    parts = times.vision_ms + times.projector_ms + times.language_prefill_ms
    assert parts <= times.prefill_ms
    assert times.prefill_ms + times.decode_ms <= times.host_ms
    assert times.forwards == 3


def test_one_token_has_no_step() -> None:
    times = measure(Toy(), 1)
    assert times.step_ms == []
    assert times.decode_ms == 0


def test_a_surplus_forward_is_left_out() -> None:
    times = measure(Toy(surplus=1), 3)
    assert times.forwards == 4
    assert len(times.step_ms) == 2
    whole = measure(Toy(), 4)
    assert times.decode_ms < whole.decode_ms


def test_fewer_forwards_than_tokens_are_refused() -> None:
    model = Toy()
    timer = StageTimer(model, CPU, 3)
    with timer.measure():
        model.generate(2, timer.on_logits)
    with pytest.raises(RuntimeError, match="2 forwards made 3 tokens"):
        timer.times(3)


def test_an_error_inside_leaves_nothing_behind() -> None:
    class Broken(Toy):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of memory")

    model = Broken()
    timer = StageTimer(model, CPU, 1)
    with pytest.raises(RuntimeError, match="out of memory"), timer.measure():
        model.generate(1, timer.on_logits)
    assert not hooked(model)
    assert not timer._ranges._open


@pytest.mark.parametrize(("surplus", "most_tokens"), [(0, 3), (1, 3), (0, 5)])
def test_ranges_are_nested_annotations(surplus: int, most_tokens: int) -> None:
    """Also with a forward too many, and where the end of sequence comes early."""
    model = Toy(surplus)
    timer = StageTimer(model, CPU, most_tokens)
    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recording,
        timer.measure(),
    ):
        model.generate(3, timer.on_logits)
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
    # A step that an early end leaves undone has begun.
    assert ("decode_step[2]" in spans) == (most_tokens == 5)
    assert decode_start <= steps[0][0]
    assert steps[0][1] <= steps[1][0]
    assert steps[1][1] <= decode_end


class Nested(Toy):
    """Its projector lies within the vision encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = Vision(4, within=Projector(2))
        self.bridge = nn.Identity()


def test_a_part_within_a_part_counts_once() -> None:
    times = measure(Nested(), 1)
    assert naps(times.projector_ms) >= 4
    assert 8 <= naps(times.vision_ms) < naps(times.prefill_ms) - 7
    parts = times.vision_ms + times.projector_ms + times.language_prefill_ms
    assert parts <= times.prefill_ms


def test_within_compiled_code_is_no_hook() -> None:
    """The projector is compiled with the vision encoder: its time counts there."""
    model: Any = Nested()
    eager = model.tower.forward

    def compiled(pixel_values: torch.Tensor) -> torch.Tensor:
        assert not hooked(model.tower.within)
        out: torch.Tensor = eager(pixel_values)
        return out

    model.tower.forward = compiled
    times = measure(model, 1)
    assert times.projector_ms is None
    assert naps(times.vision_ms) >= 12
