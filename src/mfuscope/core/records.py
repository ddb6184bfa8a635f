"""The records that cross packages: the contents of the JSON artefacts, field by field.

workflow/schemas/*.schema.yaml describe every field with its unit; a test compares both. A value
that could not be measured is None, and the record's `absent` maps its name to the reason.
"""

from dataclasses import dataclass, field
from typing import Any

from mfuscope.core.cache import CacheLayers as CacheLayers
from mfuscope.core.endings import Ending as Ending
from mfuscope.core.passes import Conditions as Conditions
from mfuscope.core.passes import Host as Host
from mfuscope.core.passes import HostStage as HostStage
from mfuscope.core.passes import Pass as Pass
from mfuscope.core.passes import composed
from mfuscope.core.prompts import Prompt as Prompt
from mfuscope.core.timelines import StepTimeline

# Increase this number with every change to what is measured, or how: results of another protocol
# are measured again. Other edits keep the results.
PROTOCOL = 5


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
class Quantisation:
    """How the weights of a checkpoint are stored: a package's method, its scheme, and the bits."""

    method: str
    scheme: str
    bits: int


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
    positions: int | None
    quantisation: Quantisation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page that was measured."""

    path: str
    sha256: str
    width: int
    height: int
    resolution: str


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
class Reference:
    """A pass of a blank page: the same work in every session, whatever its pages.

    `step_ms` is the median decode step, None for a single new token.
    """

    prefill_ms: float
    step_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where a run was measured: the call of the workflow, the process that measured, its host."""

    call: str
    process: str
    host: str
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One image x one repeat x one variant: results/VARIANT/runs/IMAGE/REPEAT.json.

    `warmup_ms` has the page time (prefill and decode) of each warm-up pass that was made right
    before this run. `prompt` is that of the page, None in records of older versions; `ending` is
    that of the first timed pass, and of the first copy of a batch.
    """

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
    warmup_ms: list[float]
    runs_before: int
    session: Session
    passes: list[Pass]
    traced: Pass
    passes_agree: bool
    ending: Ending | None = None
    prompt: Prompt | None = None
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

    @property
    def timed(self) -> Pass:
        """The timed passes as one; see `core.passes.composed`."""
        return composed(self.passes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Where the host was while the device waited for it, in a stage of a traced pass.

    In Python or the framework between operators, in an operator but in no call of CUDA, in a launch
    or another call of the CUDA runtime or driver, or in a call that waits for the device.
    """

    python_ms: float
    dispatch_ms: float
    launch_ms: float
    synchronisation_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageActivity:
    """One stage of a traced pass; the profiler makes its times longer than the timed pass's."""

    wall_ms: float
    steps: int
    kernels: int | None
    device_busy_ms: float | None
    graph_launches: int | None = None
    launches: int | None = None
    lost_launches: int | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Kernels and busy time of a trace's stages: results/VARIANT/activity/IMAGE/REPEAT.json.

    `repaired` counts device events with impossible times, by what became of them: `cut`, or
    `left_out`. `unclaimed_share` is the part of the device time that no launch of the trace claims.
    `step` is a decode step event by event, of each page's first repeat.
    """

    variant: str
    image: str
    repeat: int
    weights: str
    trace_events: int
    stages: dict[str, StageActivity]
    repaired: dict[str, int] = field(default_factory=dict)
    unclaimed_share: float | None = None
    step: StepTimeline | None = None
    table_bytes: dict[str, int] = field(default_factory=dict)  # known once the tables are written
    reading_started: float = 0.0  # these three are known once the trace is read
    reading_ended: float = 0.0
    host: str = ""
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
class OperatorFlops:
    """Calls and FLOPs of one operator in one forward."""

    calls: int
    flops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeStep:
    """FLOPs and minimum bytes of one decode step that attends to `context_tokens` tokens."""

    context_tokens: int
    flops: FlopTable
    total: dict[str, int | float]
    operators: dict[str, OperatorFlops]
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
    prefill_operators: dict[str, OperatorFlops]
    prefill_weight_bytes: int | None
    prefill_kv_bytes: int | None
    profiler_matmul_flops: int
    decode_steps: list[DecodeStep]
    cache: list[CacheLayers] | None
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
