"""The records that cross packages: the contents of the JSON artefacts, field by field.

workflow/schemas/*.schema.yaml describe every field with its unit; a test compares both. A value
that could not be measured is None, and the record's `absent` maps its name to the reason.
"""

from dataclasses import dataclass, field
from typing import Any

from mfuscope.core.language import Language

# Increase this number with every change to what is measured, or how: results of another protocol
# are measured again. Other edits keep the results.
PROTOCOL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The device that measured."""

    kind: str
    name: str
    compute_capability: str | None
    sm_count: int | None
    memory_bytes: int
    sm_clock_max_mhz: float | None
    uuid: str | None
    threads: int
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The software that measured."""

    mfuscope: str
    python: str
    torch: str
    transformers: str
    cuda: str | None
    driver: str | None
    platform: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Clocks, temperature, power and throttling of the device at one instant, from NVML."""

    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttle_reasons: list[str] | None
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model that was measured."""

    name: str
    family: str
    architecture: str
    weights: str
    fingerprint: str
    parameters: int
    weight_bytes: int
    dtype: str
    attention: str
    experts_implementation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page that was measured."""

    path: str
    sha256: str
    width: int
    height: int
    resolution: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One ``generate`` call."""

    prefill_ms: float
    decode_ms: float
    step_ms: list[float]
    vision_ms: float | None
    projector_ms: float | None
    language_prefill_ms: float | None
    host_ms: float
    forwards: int
    new_tokens: int
    token_ids_sha256: str
    peak_memory_bytes: int | None
    energy_j: float | None
    conditions_before: Conditions
    conditions_after: Conditions
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """What torch.compile did in the warm-up of a run's resolution.

    `recompilations` are the frames that passes after the first one compiled; `graph_breaks` has a
    reason per break; `discarded_passes` are passes of this run that compiled something, and were
    made again.
    """

    compile_s: float
    passes: int
    frames: int
    recompilations: int
    graphs: int
    graph_breaks: list[str]
    discarded_passes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One image x one repeat x one variant: results/VARIANT/runs/IMAGE/REPEAT.json."""

    protocol: int
    variant: str
    image: str
    repeat: int
    measured_at: str
    page: Page
    model: Model
    prompt_tokens: int
    image_tokens: int | None
    context_tokens: int
    warmup_passes: int
    runs_before: int
    timed: Pass
    traced: Pass
    passes_agree: bool
    compilation: Compilation | None = None
    settings: dict[str, Any]
    device: Device
    versions: Versions
    commit: str | None = None
    trace_bytes: int = 0  # known once the trace is packed
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """Copies of the page that were generated for together."""
        return int(self.settings["batch_size"])


@dataclass(frozen=True, slots=True, kw_only=True)
class StageActivity:
    """One stage of a traced pass; the profiler makes its times longer than the timed pass's."""

    wall_ms: float
    steps: int
    kernels: int | None
    device_busy_ms: float | None
    graph_launches: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Kernels and busy time of a trace's stages: results/VARIANT/activity/IMAGE/REPEAT.json."""

    variant: str
    image: str
    repeat: int
    weights: str
    trace_events: int
    stages: dict[str, StageActivity]
    table_bytes: dict[str, int] = field(default_factory=dict)  # known once the tables are written
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The measured sustained performance of the device: results/ceiling.json."""

    measured_at: str
    device: Device
    versions: Versions
    precision: str
    precision_reason: str
    precisions: list[str]
    gemm_tflops: dict[str, float]
    gemm_shape: dict[str, list[int]]
    copy_gbs: float
    copy_bytes: int
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A theoretical dense peak and its source."""

    tflops: float
    source: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The device with the peaks that utilisation is a share of: results/hardware.json.

    `peak_tflops` and its source belong to `precision`, which the settings request; `peaks` has
    every precision in use, as variants may use others.
    """

    device: Device
    versions: Versions
    precision: str
    precision_reason: str
    peak_tflops: float
    peak_source: str
    peak_detail: str
    peaks: dict[str, Peak]
    bandwidth_gbs: float
    bandwidth_source: str
    bandwidth_detail: str


# FLOPs by component and FLOP model (counted, architecture, directional). Only the directional
# formulas give halves; the others give whole numbers.
FlopTable = dict[str, dict[str, int | float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeStep:
    """FLOPs and minimum bytes of one decode step that attends to `context_tokens` tokens."""

    context_tokens: int
    flops: FlopTable
    total: dict[str, int | float]
    weight_bytes: int | None
    kv_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """FLOPs of one resolution: results/VARIANT/calibration/RESOLUTION.json."""

    variant: str
    resolution: str
    model: Model
    prompt_tokens: int
    image_tokens: int | None
    prefill_flops: FlopTable
    prefill_total: dict[str, int | float]
    prefill_weight_bytes: int | None
    prefill_kv_bytes: int | None
    profiler_matmul_flops: int
    decode_steps: list[DecodeStep]
    language: Language | None
    uncounted_operators: list[str]
    versions: Versions
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedPage:
    """A page that is not measured because it cannot be read."""

    image: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingRun:
    """A run that is missing from a report because something failed."""

    variant: str
    image: str
    repeat: int
    reason: str
