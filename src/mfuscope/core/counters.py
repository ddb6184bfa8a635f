"""The record of hardware counters; see `core.records`."""

from dataclasses import dataclass, field
from typing import Any

from mfuscope.core.records import Device, Model, Page, Versions


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedPass:
    """What was counted and traced for `Counters`: a prefill and the first decode step of a page."""

    page: Page
    model: Model
    prompt_tokens: int
    decode_steps: int
    device: Device
    versions: Versions


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterTotals:
    """What the hardware did in the kernels of a stage or component; None without a counter."""

    kernels: int
    device_ms: float
    tensor_flops: int | None
    dram_read_bytes: int | None
    dram_write_bytes: int | None

    @property
    def dram_bytes(self) -> int | None:
        """Bytes read and written."""
        if self.dram_read_bytes is None or self.dram_write_bytes is None:
            return None
        return self.dram_read_bytes + self.dram_write_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Hardware counters of one resolution: results/VARIANT/counters/RESOLUTION.json.

    `stages` has prefill, its parts (vision, projector, language_prefill) and decode_step, the first
    one; it is empty where nothing could be counted. `components` has the stages whose kernels are
    those of the traced pass. `table_bytes` is the size of the table beside the record.
    """

    variant: str
    resolution: str
    weights: str
    measured_at: str
    seconds: float
    tool: str | None
    replay_mode: str
    metrics: list[str]
    settings: dict[str, Any]
    counted: CountedPass
    stages: dict[str, CounterTotals]
    components: dict[str, dict[str, CounterTotals]]
    table_bytes: int
    absent: dict[str, str] = field(default_factory=dict)
