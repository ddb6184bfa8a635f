"""What stands between a measurement and its record, on fakes: clocks, counters, devices, settings.

Nothing here takes a time of its own, so that every figure is known beforehand.
"""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pynvml
import pytest
import torch
from builders import a_pass, cpu, gpu, model, versions
from checkpoints import MODELS, ROOT, small_config, write_published
from mounts import small_disk
from torch import nn
from transformers import UnlimitedOcrConfig

from mfuscope.config.settings import (
    ModelSettings,
    ProfilerSettings,
    Settings,
    load_schema,
    resolve_settings,
)
from mfuscope.core.errors import UserError, UserErrors
from mfuscope.core.records import Device, Run
from mfuscope.core.runs import RunKey
from mfuscope.hardware import ceiling, clocks, devices, nvml
from mfuscope.hardware.clocks import CudaClock
from mfuscope.measure import passes as profiling
from mfuscope.measure import session as sessions
from mfuscope.measure import stages
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import Session
from mfuscope.measure.stages import Ranges, StageTimer
from mfuscope.models import parts
from mfuscope.models.inputs import PageInputs
from mfuscope.models.loader import load_model
from mfuscope.models.published import map_published_config
from mfuscope.models.spec import resolve_model
from mfuscope.planning import plan as planning
from mfuscope.planning.parameters import countable, run_parameters

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
BITS = {
    0: [],
    0x1: [],  # idle: no reason to distrust a figure
    0x4: ["sw_power_cap"],
    0x4 | 0x20: ["sw_power_cap", "sw_thermal_slowdown"],
}


class Toy(nn.Module):
    """Vision before the first forward, then one forward per token; some parts never run."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.vision_tower = nn.Identity()
        self.multi_modal_projector = nn.Identity()  # never runs
        self.language_model = nn.Identity()
        self.fails = fails

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fails:
            raise RuntimeError("out of memory")
        out: torch.Tensor = self.language_model(x)
        return out

    def generate(self, tokens: int) -> None:
        x = self.vision_tower(torch.zeros(1))
        for _ in range(tokens):
            x = self(x)


# --- profiling -----------------------------------------------------------------------------------


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
        self.settings = ModelSettings("toy", "auto", "auto", "sdpa", "Free OCR.")
        self.description = model()
        self.model = Toy()
        self.positions: int | None = None
        self.warmed_up: set[object] = set()
        self.runs = 0
        self._passes = iter(passes)
        self._during = during

    def inputs(self, page: object, mode: str) -> PageInputs:
        return PageInputs({}, prompt_tokens=7, image_tokens=5, resolution="512")

    def generate(self, page: PageInputs, max_new_tokens: int, *, ignore_eos: bool) -> torch.Tensor:
        tokens = next(self._passes)
        self.model.generate(len(tokens))
        self._during()
        return torch.tensor(tokens)


def one_run(session: FakeSession, folder: Path) -> Run:
    plain = ProfilerSettings(
        decode_steps=None, record_shapes=False, profile_memory=False, with_stack=False
    )
    how = RunSettings("tiny", 3, ignore_eos=True, warmup=0, profiler=plain)
    trace = folder / "trace.json"
    made = cast(Session, session)
    key = RunKey("baseline", "map.png", 1)
    return measure(made, PAGE, trace, how, key=key, max_megapixels=150)


@pytest.mark.parametrize(
    ("traced", "agree"),
    [([1, 2, 3], True), ([1, 2, 4], False), ([1, 2], False), ([12, 3, 0], False)],
)
def test_a_run_says_whether_its_passes_agree(
    traced: list[int], agree: bool, tmp_path: Path
) -> None:
    run = one_run(FakeSession([[1, 2, 3], traced]), tmp_path)
    assert run.passes_agree is agree
    assert (run.timed.token_ids_sha256 == run.traced.token_ids_sha256) is agree
    # Of the timed pass, whatever the traced one did.
    assert run.context_tokens == 7 + 3


def test_a_part_that_never_ran_is_absent(tmp_path: Path) -> None:
    run = one_run(FakeSession([[1, 2], [1, 2]]), tmp_path)
    assert run.timed.projector_ms is None
    assert run.timed.absent["projector_ms"] == "no part of a known name ran in prefill"
    assert run.timed.vision_ms is not None
    assert "vision_ms" not in run.timed.absent


@pytest.mark.parametrize(
    ("kernels", "traces", "absent"),
    [([True], 1, False), ([False, True], 2, False), ([False] * 2, 2, True)],
)
def test_a_trace_without_kernels_is_made_again(
    kernels: list[bool], traces: int, absent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FakeSession([])
    made.device = CUDA
    found = iter(kernels)
    saved: list[str] = []

    def save(path: str) -> None:
        saved.append(path)
        Path(path).write_text('{"traceEvents": [{}]}')

    profile = SimpleNamespace(add_metadata_json=lambda *_: None, export_chrome_trace=save)
    monkeypatch.setattr(profiling, "recording", lambda *_: contextlib.nullcontext(profile))
    monkeypatch.setattr(profiling, "holds_kernels", lambda path: next(found))
    monkeypatch.setattr(profiling, "_pass", lambda *_: (a_pass(3), [len(saved)]))
    plain = ProfilerSettings(None, False, False, False)
    how = RunSettings("tiny", 3, ignore_eos=True, warmup=0, profiler=plain)
    page = PageInputs({}, 7, 5, "512")
    _, tokens, lacks = profiling._traced_pass(
        cast(Session, made), page, how, "{}", tmp_path / "trace.json"
    )
    assert len(saved) == traces
    assert tokens == [traces - 1], "the pass whose trace was kept"
    assert ("kernels" in lacks) == absent


def test_a_trace_that_found_no_room_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "disk" / "job"
    session = FakeSession([[1, 2], [1, 2]])
    with small_disk(disk, "4k"):
        (disk / "filler").write_bytes(bytes(4096))
        with pytest.raises(UserError, match=r"could not write its trace to .*, where 0 MB are"):
            one_run(session, disk)


class FakeNvml:
    """One GPU as NVML would tell of it."""

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


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
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


def test_energy_is_the_counters_difference_in_joules(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    def work() -> None:
        fake_nvml.energy_mj += 2500

    run = one_run(FakeSession([[1], [1]], gpu(), work), tmp_path)
    assert run.timed.energy_j == run.traced.energy_j == 2.5
    assert "energy_j" not in run.timed.absent


def test_a_counter_that_does_not_move_tells_nothing(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    run = one_run(FakeSession([[1], [1]], gpu()), tmp_path)
    assert run.timed.energy_j is None
    assert run.timed.absent["energy_j"] == "the counter did not move during the pass"


def test_nvml_may_go_in_the_middle_of_a_pass(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    def work() -> None:
        fake_nvml.energy_mj += 2500
        fake_nvml.gone = True

    run = one_run(FakeSession([[1], [1]], gpu(), work), tmp_path)
    assert run.timed.energy_j is None
    assert run.timed.absent["energy_j"] == "during the pass: NVML: GPU is lost"
    assert run.timed.conditions_before.sm_clock_mhz == 1755
    after = run.timed.conditions_after
    assert after.sm_clock_mhz is None
    assert after.absent["sm_clock_mhz"] == "NVML: GPU is lost"
    # The traced pass never had it.
    assert run.traced.energy_j is None
    assert run.traced.absent["energy_j"] == "NVML: GPU is lost"


# --- NVML ----------------------------------------------------------------------------------------


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


def test_what_a_card_does_not_tell_is_absent_alone(
    fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerUsage", refuse)
    state = nvml.read_conditions(fake_nvml.uuid)
    assert state.power_w is None
    assert state.absent == {"power_w": "NVML: Not Supported"}
    assert state.temperature_c == 41


# --- the ceiling ---------------------------------------------------------------------------------


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


def test_a_gpu_is_made_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[int] = []

    def set_device(device: object) -> None:
        # torch's own first step: a device without an index is refused.
        current.append(torch.cuda._utils._get_device_index(device))

    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    devices.use_device(CPU)
    assert current == []
    devices.use_device(torch.device("cuda"))
    devices.use_device(torch.device("cuda:3"))
    assert current == [0, 3]


# --- stages --------------------------------------------------------------------------------------


class StepClock:
    """A device that takes one millisecond from mark to mark; logs what it is asked."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.host_ns = 0

    def mark(self) -> int:
        self.log.append("mark")
        return self.log.count("mark")

    def synchronise(self) -> None:
        self.log.append("synchronise")
        self.host_ns += 1_000_000_000  # waiting takes a second of the host's time

    def elapsed_ms(self, start: int, end: int) -> float:
        self.log.append("elapsed")
        return float(end - start)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StepClock:
    made = StepClock()
    monkeypatch.setattr(stages, "device_clock", lambda device: made)
    host = SimpleNamespace(perf_counter_ns=lambda: made.host_ns)
    monkeypatch.setattr(stages, "time", host)
    return made


def test_the_device_is_idle_at_the_start_and_at_the_end(clock: StepClock) -> None:
    toy = Toy()
    timer = StageTimer(toy, CPU)
    with timer.measure():
        toy.generate(2)
        assert clock.log[:2] == ["synchronise", "mark"]
    # Start, vision twice, first forward, language model twice, its logits, second forward, end.
    assert clock.log == ["synchronise", *["mark"] * 9, "synchronise"]
    times = timer.times(2)
    assert clock.log[11:] == ["elapsed"] * len(clock.log[11:]), "nothing waits, nothing marks"
    assert times.prefill_ms == 6
    assert (times.vision_ms, times.language_prefill_ms) == (1, 1)
    assert times.decode_ms == 2
    assert times.step_ms == [1]
    # The wait at the end belongs to the call, the one before it does not.
    assert times.host_ms == 1000


def test_a_part_that_is_found_but_never_runs_takes_no_time(clock: StepClock) -> None:
    toy = Toy()
    assert "projector" in parts.find_parts(toy)
    timer = StageTimer(toy, CPU)
    with timer.measure():
        toy.generate(1)
    assert timer.times(1).projector_ms is None


@pytest.fixture
def nvtx(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    log: list[str] = []
    monkeypatch.setattr(torch.cuda.nvtx, "range_push", lambda name: log.append(f"push {name}"))
    monkeypatch.setattr(torch.cuda.nvtx, "range_pop", lambda: log.append("pop"))
    return log


def test_nvtx_ranges_open_and_close_on_a_gpu(nvtx: list[str]) -> None:
    ranges = Ranges(torch.device("cuda"))
    ranges.push("prefill")
    ranges.push("vision")
    ranges.pop()
    assert nvtx == ["push prefill", "push vision", "pop"]
    ranges.push("projector")
    ranges.close()
    assert nvtx[3:] == ["push projector", "pop", "pop"]
    ranges.close()
    assert len(nvtx) == 6


def test_nvtx_has_no_say_on_a_cpu(nvtx: list[str]) -> None:
    ranges = Ranges(CPU)
    ranges.push("prefill")
    ranges.pop()
    ranges.push("decode")
    ranges.close()
    assert nvtx == []


def test_record_function_is_entered_only_where_torch_records() -> None:
    ranges = Ranges(CPU)
    with mock.patch.object(torch.profiler, "record_function") as entered:
        ranges.push("unrecorded")
        ranges.pop()
        entered.assert_not_called()  # it would slow the timed pass
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ranges.push("recorded")
        ranges.pop()
    assert [event.name for event in profile.events() or []] == ["recorded"]


def nested(log: list[str]) -> Iterator[str]:
    """The path of every range, in the order of opening; every one is closed at the end."""
    path: list[str] = []
    for entry in log:
        if entry == "pop":
            path.pop()
        else:
            path.append(entry.removeprefix("push "))
            yield "/".join(path)
    assert path == []


def test_nvtx_has_the_stages(nvtx: list[str], clock: StepClock) -> None:
    toy = Toy()
    with StageTimer(toy, CUDA).measure():
        toy.generate(3)
    assert list(nested(nvtx)) == [
        "prefill",
        "prefill/vision",
        "prefill/language_prefill",
        "decode",
        "decode/decode_step[0]",
        "decode/decode_step[1]",
    ]


def test_nvtx_ranges_are_closed_after_an_error(nvtx: list[str], clock: StepClock) -> None:
    toy = Toy(fails=True)
    with pytest.raises(RuntimeError, match="out of memory"), StageTimer(toy, CUDA).measure():
        toy.generate(1)
    assert list(nested(nvtx)) == ["prefill", "prefill/vision"]


def test_an_event_goes_to_the_stream_of_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[object] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: object = "the current device's") -> None:
            log.append(stream)

        def elapsed_time(self, end: object) -> float:
            assert end is not self
            return 2.5

    def current_stream(device: object = None) -> object:
        return f"stream of {device}"

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: log.append(device))
    clock = clocks.device_clock(CUDA)
    assert isinstance(clock, CudaClock)
    start, end = clock.mark(), clock.mark()
    clock.synchronise()
    assert log == ["stream of cuda:1", "stream of cuda:1", CUDA]
    assert clock.elapsed_ms(start, end) == 2.5


# --- models and sessions -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("published") / "model"
    write_published(folder)
    return str(folder)


@pytest.mark.parametrize("load_format", ["auto", "dummy"])
def test_models_are_for_inference(load_format: str, published: str) -> None:
    spec = resolve_model(published, load_format, MODELS)
    assert spec.weights == ("dummy" if load_format == "dummy" else "checkpoint")
    loaded = load_model(spec, "fp32", "sdpa", CPU).model
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize(
    ("given", "scaling", "theta", "epsilon"),
    [
        ({}, 1.0, 10000.0, 1e-6),
        (
            {"routed_scaling_factor": 2.5, "rope_theta": 50000, "rms_norm_eps": 1e-5},
            2.5,
            50000.0,
            1e-5,
        ),
    ],
)
def test_the_config_keeps_what_it_is_given(
    given: dict[str, float], scaling: float, theta: float, epsilon: float
) -> None:
    config = small_config()
    for name in ("routed_scaling_factor", "rope_theta", "rms_norm_eps"):
        config["language_config"].pop(name, None)
    config["language_config"].update(given)
    text = UnlimitedOcrConfig(**map_published_config(config)).text_config
    assert text.routed_scaling_factor == scaling
    assert text.rope_parameters["rope_theta"] == theta
    assert text.rms_norm_eps == epsilon


@pytest.fixture
def with_tf32() -> Iterator[None]:
    """TF32 allowed; afterwards as before. (monkeypatch cannot undo these.)"""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.usefixtures("with_tf32")
def test_fp32_is_not_tf32(published: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.device] = []
    monkeypatch.setattr(sessions, "use_device", used.append)
    settings = ModelSettings(published, "auto", "fp32", "sdpa", "Free OCR.")
    made = Session(resolve_model(published, "auto", MODELS), settings, "cpu")
    assert made.dtype is torch.float32
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cuda.matmul.allow_tf32 is False
    assert used == [CPU]


@pytest.mark.parametrize(
    ("attention", "counted"), [("flash", "sdpa"), ("sdpa", "sdpa"), ("eager", "eager")]
)
def test_flash_is_counted_as_sdpa(attention: str, counted: str) -> None:
    settings = {"attention": attention, "dtype": "bf16", "model": "m", "fingerprint": "f"}
    given = dict(settings)
    assert countable(settings) == settings | {"attention": counted}
    assert settings == given


# --- plans ---------------------------------------------------------------------------------------


def wanted(**file: Any) -> Settings:
    return resolve_settings({"model": "deepseek-ocr-nano"} | file, {}, {}, SCHEMA)


@pytest.mark.parametrize(
    "changed",
    [
        {"max_new_tokens": 5},
        {"ignore_eos": False},
        {"resolution": "small"},
        {"warmup": 2},
        {"prompt": "Read."},
        {"attention": "eager"},
        {"profiler": {"decode_steps": 3}},
        {"profiler": {"with_stack": True}},
    ],
)
def test_what_changes_a_measurement_is_in_its_settings(changed: dict[str, Any]) -> None:
    def run_settings(**file: Any) -> dict[str, Any]:
        plan = planning.make_plan(wanted(images=str(PAGE), device="cpu", **file), MODELS)
        return run_parameters(plan, "baseline")

    assert run_settings(**changed) != run_settings()
    for same in (
        {"worker": {"keep_alive": 0, "run_timeout": 5, "start_timeout": 5}},
        {"profiler": {"keep_traces": "none"}},
    ):
        assert run_settings(**same) == run_settings()


def test_an_unknown_model_of_the_budget_is_named() -> None:
    asked = wanted(images=str(PAGE), device="cpu", flops={"models": ["nope"]})
    with pytest.raises(UserErrors, match=r"flops\.models: 'nope' is no bundled model"):
        planning.make_plan(asked, MODELS)


@pytest.mark.parametrize(
    ("gpus", "file", "where"),
    [
        (0, {"device": "cpu"}, "on the CPU"),
        (0, {"device": "auto", "dtype": "bf16"}, "on the CPU"),
        (1, {"device": "cuda", "dtype": "fp32"}, "in fp32"),
        (1, {"device": "cpu", "dtype": "fp32"}, "on the CPU"),
    ],
)
@pytest.mark.parametrize("in_a_variant", [False, True])
def test_flash_attention_has_its_place(
    gpus: int,
    file: dict[str, Any],
    where: str,
    in_a_variant: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec

    def with_flash(name: str, package: str | None = None) -> object:
        return object() if name == "flash_attn" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", with_flash)
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([nvml.Gpu("GPU-1", "NVIDIA L4")] * gpus, ""))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")
    flash: dict[str, Any] = {"attention": "flash"}
    asked = file | ({"variants": {"baseline": None, "fast": flash}} if in_a_variant else flash)
    with pytest.raises(UserErrors, match=f"on a GPU only, not {where}"):
        planning.make_plan(wanted(images=str(PAGE), **asked), MODELS)
    # Where it can run, nothing stands against it.
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([nvml.Gpu("GPU-1", "NVIDIA L4")], ""))
    plan = planning.make_plan(
        wanted(images=str(PAGE), **asked | {"device": "cuda", "dtype": "bf16"}), MODELS
    )
    assert "flash" in {variant.attention for variant in plan.variants.values()}
