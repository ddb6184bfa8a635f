"""The settings of a run, beside those of its model."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mfuscope.config.settings import ProfilerSettings
from mfuscope.measure.session import Generation


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings of a run, beside those of its model."""

    resolution: str
    max_new_tokens: int
    ignore_eos: bool
    warmup: int
    profiler: ProfilerSettings
    cache: str = "dynamic"
    batch_size: int = 1
    no_repeat_ngram_size: int = 0
    timed_passes: int = 3

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "RunSettings":
        """Read a job's settings (`planning.parameters.run_parameters`)."""
        values = {field.name: settings[field.name] for field in fields(cls)}
        return cls(**values | {"profiler": ProfilerSettings(**settings["profiler"])})

    @property
    def generation(self) -> Generation:
        """How every pass generates."""
        return Generation(**{field.name: getattr(self, field.name) for field in fields(Generation)})

    @property
    def traced_new_tokens(self) -> int:
        """Most tokens of the traced pass: one from prefill, and one per traced step."""
        steps = self.profiler.decode_steps
        return self.max_new_tokens if steps is None else min(self.max_new_tokens, 1 + steps)
