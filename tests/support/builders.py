"""Hand-made records of plausible size, for tests: every builder takes the fields to change."""

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from mfuscope.core import counters as counted_records
from mfuscope.core import records
from mfuscope.core.language import Language
from mfuscope.core.timelines import StepTimeline, Track
from mfuscope.flops import architecture, directional
from mfuscope.traces.operators import operator_table
from mfuscope.traces.spans import Trace

Json = dict[str, Any]

SHA256 = hashlib.sha256(b"a page").hexdigest()
MEASURED_AT = "2026-01-02T03:04:05Z"
CALL = "20260102T030400Z-0a1b2c"
HOST = "6f0e0f2a3c41"
STARTED_AT = 1767323045.25  # the same moment in Unix seconds


def gpu(**changes: Any) -> records.Device:
    """A GPU of which everything is known."""
    device = records.Device(
        kind="cuda",
        name="NVIDIA H100 80GB HBM3",
        compute_capability="9.0",
        sm_count=132,
        memory_bytes=85_000_000_000,
        sm_clock_max_mhz=1980.0,
        uuid="GPU-01234567-89ab-cdef-0123-456789abcdef",
        threads=16,
    )
    return replace(device, **changes)


def cpu(**changes: Any) -> records.Device:
    """A CPU, with everything absent that it cannot have."""
    none = ("compute_capability", "sm_count", "sm_clock_max_mhz", "uuid")
    device = gpu(
        kind="cpu",
        name="A processor",
        memory_bytes=16_000_000_000,
        threads=2,
        absent=dict.fromkeys(none, "a CPU has none"),
        **dict.fromkeys(none),
    )
    return replace(device, **changes)


def versions(**changes: Any) -> records.Versions:
    """Versions of a CUDA installation."""
    made = records.Versions(
        mfuscope="0.1.0",
        python="3.11.7",
        torch="2.11.0+cu128",
        transformers="5.23.0",
        cuda="12.8",
        driver="580.65.06",
        platform="Linux-6.8-x86_64-with-glibc2.36",
    )
    return replace(made, **changes)


def conditions(**changes: Any) -> records.Conditions:
    """A GPU at work."""
    made = records.Conditions(
        sm_clock_mhz=1980,
        memory_clock_mhz=2619,
        temperature_c=35,
        power_w=121.5,
        throttle_reasons=[],
    )
    return replace(made, **changes)


def no_conditions() -> records.Conditions:
    """The conditions of a CPU: all absent."""
    names = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w", "throttle_reasons")
    return conditions(**dict.fromkeys(names), absent=dict.fromkeys(names, "not a GPU"))


def model(**changes: Any) -> records.Model:
    """DeepSeek-OCR with dummy weights."""
    made = records.Model(
        name="deepseek-ocr",
        family="deepseek-ocr",
        architecture="DeepseekOCRForCausalLM",
        weights="dummy",
        fingerprint="0123456789abcdef",
        parameters=3_336_106_240,
        weight_bytes=6_672_212_480,
        dtype="bf16",
        attention="sdpa",
        experts_implementation="grouped_mm",
        positions=8192,
    )
    return replace(made, **changes)


def page(**changes: Any) -> records.Page:
    """A small page, seen as one view."""
    made = records.Page(
        path="pages/page.png", sha256=SHA256, width=600, height=400, resolution="1024"
    )
    return replace(made, **changes)


def host_stage(**changes: Any) -> records.HostStage:
    """A stage that nothing disturbed."""
    made = records.HostStage(
        run_queue_wait_ms=0.25,
        voluntary_switches=3,
        involuntary_switches=1,
        minor_faults=20,
        major_faults=0,
        collections=0,
        collections_ms=0.0,
    )
    return replace(made, **changes)


def no_host() -> records.Host:
    """The host of a system that tells nothing."""
    switches = ("voluntary_switches", "involuntary_switches")
    names = ("run_queue_wait_ms", *switches, "minor_faults", "major_faults")
    stage = host_stage(**dict.fromkeys(names))
    own = ("load_1min", "steal_ms", "cpu_mhz", "gpu_processes")
    absent = dict.fromkeys((*own, *names), "the system does not tell")
    return host(prefill=stage, decode=stage, **dict.fromkeys(own), absent=absent)


def host(**changes: Any) -> records.Host:
    """An idle host, on which the pass alone uses the GPU."""
    made = records.Host(
        started_at=STARTED_AT,
        load_1min=1.25,
        steal_ms=0.0,
        cpu_mhz=3500.0,
        gpu_processes=0,
        prefill=host_stage(),
        decode=host_stage(run_queue_wait_ms=0.5),
    )
    return replace(made, **changes)


def session(**changes: Any) -> records.Session:
    """A session of one call and one process."""
    made = records.Session(
        call=CALL,
        process="0123456789ab",
        host=HOST,
        reference=records.Reference(prefill_ms=49.0, step_ms=19.5),
    )
    return replace(made, **changes)


def a_pass(new_tokens: int = 4, **changes: Any) -> records.Pass:
    """A pass on a GPU: 50 ms prefill, then 20 ms per step and 2 ms for the first token's choice."""
    steps = [20.0] * (new_tokens - 1)
    made = records.Pass(
        prefill_ms=50.0,
        decode_ms=sum(steps) + 2.0,
        step_ms=steps,
        vision_ms=30.0,
        projector_ms=1.0,
        language_prefill_ms=18.0,
        host_ms=sum(steps) + 53.0,
        forwards=new_tokens,
        new_tokens=new_tokens,
        token_ids_sha256=SHA256,
        peak_memory_bytes=7_000_000_000,
        energy_j=12.5,
        conditions_before=conditions(),
        conditions_after=conditions(),
        host=host(),
    )
    return replace(made, **changes)


def run(new_tokens: int = 4, **changes: Any) -> records.Run:
    """A run of `page` on `gpu`; the traced pass takes longer than the timed ones.

    `timed` stands for three timed passes that are alike.
    """
    timed = changes.pop("timed", a_pass(new_tokens))
    prompt_tokens = changes.get("prompt_tokens", 278)
    made = records.Run(
        protocol=records.PROTOCOL,
        variant="baseline",
        image="page.png",
        repeat=0,
        measured_at=MEASURED_AT,
        page=page(),
        model=model(),
        prompt_tokens=prompt_tokens,
        image_tokens=273,
        context_tokens=prompt_tokens + new_tokens,
        warmup_ms=[118.0, 115.0],
        runs_before=0,
        session=session(),
        passes=[timed] * 3,
        traced=a_pass(new_tokens, prefill_ms=80.0, host_ms=200.0),
        passes_agree=True,
        prompt=records.Prompt(before="<s>", image="<image>", images=273, after="\nFree OCR."),
        settings={
            "model": "deepseek-ocr",
            "load_format": "auto",
            "dtype": "auto",
            "attention": "sdpa",
            "experts": "auto",
            "compile": "none",
            "threads": 0,
            "prompt": "Free OCR.",
            "resolution": "auto",
            "cache": "dynamic",
            "max_new_tokens": new_tokens,
            "ignore_eos": True,
            "no_repeat_ngram_size": 0,
            "batch_size": 1,
            "warmup": 1,
            "timed_passes": 3,
            "profiler": {
                "decode_steps": None,
                "record_shapes": False,
                "profile_memory": False,
                "with_stack": False,
            },
        },
        device=gpu(),
        versions=versions(),
        commit="0123456789ab",
        trace_bytes=9_000_000,
        absent={
            "compilation": "nothing was to be compiled",
            "ending": "`ignore_eos: true`: every answer goes on to max_new_tokens",
        },
    )
    return replace(made, **changes)


def waiting(ms: float) -> records.Waiting:
    """A device that waits for Python for half of the time."""
    return records.Waiting(
        python_ms=0.5 * ms,
        dispatch_ms=0.25 * ms,
        launch_ms=0.15 * ms,
        synchronisation_ms=0.1 * ms,
    )


def step_timeline(*kinds: str) -> StepTimeline:
    """The second of three decode steps: a product under its operator, on a GPU with its kernel.

    Args:
        kinds: of the tracks that it has; all without any.
    """
    tracks = {
        "operators": Track(kind="operators", name="0", events="1000 50000 0"),
        "calls": Track(kind="calls", name="", events="30000 5000 1"),
        "device": Track(kind="device", name="0", events="40000 30000 2"),
        "waiting": Track(kind="waiting", name="python", events="0 40000 3 30000 50000 3"),
    }
    return StepTimeline(
        index=1,
        steps=3,
        length_us=12_000.0,
        names=["aten::mm", "cudaLaunchKernel", "gemm", "python"],
        tracks=[tracks[kind] for kind in kinds or tracks],
    )


def activity(**changes: Any) -> records.Activity:
    """What the trace of `run` says, on a GPU: half of each stage busy."""
    made = records.Activity(
        variant="baseline",
        image="page.png",
        repeat=0,
        weights="dummy",
        trace_events=1000,
        stages={
            "prefill": records.StageActivity(
                wall_ms=70.0,
                steps=0,
                kernels=500,
                device_busy_ms=25.0,
                graph_launches=0,
                launches=510,
                lost_launches=0,
                waiting=waiting(45.0),
            ),
            "decode": records.StageActivity(
                wall_ms=90.0,
                steps=3,
                kernels=300,
                device_busy_ms=31.0,
                graph_launches=0,
                launches=306,
                lost_launches=0,
                waiting=waiting(59.0),
            ),
        },
        unclaimed_share=0.0,
        step=step_timeline(),
        table_bytes={"operators": 30_000, "kernels": 20_000},
        reading_started=STARTED_AT + 60.0,
        reading_ended=STARTED_AT + 63.0,
        host=HOST,
    )
    return replace(made, **changes)


def cpu_activity(steps: int = 3) -> records.Activity:
    """What a CPU's trace says; without steps, that of a run of one token."""
    nothing: dict[str, Any] = {"kernels": None, "device_busy_ms": None}
    stages = {"prefill": records.StageActivity(wall_ms=70.0, steps=0, **nothing)}
    if steps:
        stages["decode"] = records.StageActivity(wall_ms=90.0, steps=steps, **nothing)
    absent = dict.fromkeys(nothing, "the trace holds no device event")
    step = step_timeline("operators") if steps else None
    if step is None:
        absent["step"] = "the traced pass made one token: no decode step"
    return activity(stages=stages, unclaimed_share=None, step=step, absent=absent)


def language(**changes: Any) -> Language:
    """DeepSeek-OCR's decoder."""
    made = Language(
        hidden=1280,
        layers=12,
        heads=10,
        kv_heads=10,
        head_dim=128,
        dense_layers=1,
        dense_mlp=6848,
        experts=64,
        active_experts=6,
        expert_mlp=896,
        shared_mlp=1792,
        vocabulary=129280,
        window=None,
        sliding_layers=0,
    )
    return replace(made, **changes)


def cache_of(made: Language, prompt_tokens: int = 278) -> list[records.CacheLayers]:
    """The cache of such a decoder, in bf16."""
    layers = {"full": made.layers - made.sliding_layers, "sliding": made.sliding_layers}
    windows = {"full": None, "sliding": prompt_tokens + (made.window or 0)}
    return [
        records.CacheLayers(
            kind=kind,
            layers=number,
            window=windows[kind],
            bytes=number * 2 * made.kv_heads * made.head_dim * 2,
            flops=number * 4 * made.heads * made.head_dim,
        )
        for kind, number in layers.items()
        if number
    ]


def _step_operators(exact: dict[str, int]) -> dict[str, records.OperatorFlops]:
    """The operators of a step on an H100: routed experts by bmm, all other weights by mm."""
    attention, routed = exact["attention"], exact["routed_experts"]
    others = sum(exact.values()) - attention - routed
    return {
        "aten::mm": records.OperatorFlops(calls=96, flops=others),
        "aten::bmm": records.OperatorFlops(calls=22, flops=routed),
        "aten::_cudnn_attention_forward": records.OperatorFlops(calls=12, flops=attention),
    }


def decode_step(context: int) -> records.DecodeStep:
    """A step of DeepSeek-OCR in bf16."""
    exact = architecture.decode_flops(language(), context, 278)
    rough = directional.decode_flops(language().widths)
    flops: records.FlopTable = {
        name: {"counted": value, "architecture": value} for name, value in exact.items()
    }
    for name, value in rough.items():
        flops[name]["directional"] = value
    totals = {"counted": sum(exact.values()), "architecture": sum(exact.values())}
    return records.DecodeStep(
        context_tokens=context,
        flops=flops,
        total=totals | {"directional": sum(rough.values())},
        operators=_step_operators(exact),
        weight_bytes=1_148_257_280,
        kv_bytes=architecture.kv_bytes(language(), context, 278, 2),
    )


def calibration(**changes: Any) -> records.Calibration:
    """FLOPs of DeepSeek-OCR at 1024: the true total, split among the parts by guess."""
    prefill = {
        "clip": 1_138_624_856_064,
        "projector": 1_342_177_280,
        "attention": 231_939_358_720,
        "lm_head": 330_956_800,
    }
    flops: records.FlopTable = {
        name: {"counted": value, "architecture": value} for name, value in prefill.items()
    }
    flops["clip"]["directional"] = 6e11
    total = sum(prefill.values())
    made = records.Calibration(
        variant="baseline",
        resolution="1024",
        model=model(),
        prompt_tokens=278,
        image_tokens=273,
        prefill_flops=flops,
        prefill_total={"counted": total, "architecture": total, "directional": 6e11},
        prefill_operators={
            "aten::addmm": records.OperatorFlops(calls=354, flops=prefill["clip"]),
            "aten::mm": records.OperatorFlops(calls=95, flops=total - prefill["clip"]),
        },
        prefill_weight_bytes=6_342_375_936,
        prefill_kv_bytes=17_080_320,
        profiler_matmul_flops=1_000_000_000_000,
        decode_steps=[decode_step(279), decode_step(280)],
        cache=cache_of(language()),
        uncounted_operators=[],
        versions=versions(),
    )
    return replace(made, **changes)


def totals(**changes: Any) -> counted_records.CounterTotals:
    """What the hardware did in a stage."""
    made = counted_records.CounterTotals(
        kernels=700,
        device_ms=3.0,
        tensor_flops=10_000_000_000,
        dram_read_bytes=1_300_000_000,
        dram_write_bytes=500_000_000,
    )
    return replace(made, **changes)


def counters(**changes: Any) -> counted_records.Counters:
    """Counters of the resolution of `calibration`, of which decode runs on padded tiles."""
    prefill = totals(kernels=1568, device_ms=19.0, tensor_flops=1_500_000_000_000)
    vision = totals(kernels=690, device_ms=13.0, tensor_flops=1_200_000_000_000)
    head = totals(kernels=1, device_ms=0.1, tensor_flops=2_658_140_160)
    experts = totals(kernels=1567, device_ms=18.9, tensor_flops=1_497_341_859_840)
    made = counted_records.Counters(
        variant="baseline",
        resolution="1024",
        weights="dummy",
        measured_at="2026-01-02T03:04:05Z",
        seconds=91.9,
        tool="2025.3.1.0",
        replay_mode="application",
        metrics=["gpu__time_duration.sum"],
        settings={"batch_size": 1},
        counted=counted_records.CountedPass(
            page=page(),
            model=model(),
            prompt_tokens=278,
            decode_steps=1,
            device=gpu(),
            versions=versions(),
        ),
        stages={"prefill": prefill, "vision": vision, "decode_step": totals()},
        components={"prefill": {"routed_experts": experts, "lm_head": head}},
        table_bytes=1,
        absent={"components_decode_step": "the kernels differ"},
    )
    return replace(made, **changes)


def generic_calibration(**changes: Any) -> records.Calibration:
    """Of a model that is known by its parts only, with experts."""
    steps = [
        records.DecodeStep(
            context_tokens=context,
            flops={"language_model": {"counted": flops}},
            total={"counted": flops},
            operators={"aten::mm": records.OperatorFlops(calls=1, flops=flops)},
            weight_bytes=None,
            kv_bytes=None,
        )
        for context, flops in ((279, 1000), (280, 1010))
    ]
    reason = "not known for this architecture"
    names = ("architecture", "directional", "cache", "prefill_weight_bytes", "prefill_kv_bytes")
    made = calibration(
        prefill_flops={"vision": {"counted": 10**12}},
        prefill_total={"counted": 10**12},
        prefill_operators={"aten::addmm": records.OperatorFlops(calls=1, flops=10**12)},
        prefill_weight_bytes=None,
        prefill_kv_bytes=None,
        decode_steps=steps,
        cache=None,
        absent=dict.fromkeys(names, reason),
    )
    return replace(made, **changes)


def ceiling(**changes: Any) -> records.Ceiling:
    """A GPU that sustains about two thirds of its peak."""
    made = records.Ceiling(
        measured_at=MEASURED_AT,
        device=gpu(),
        versions=versions(),
        precision="bf16",
        precision_reason="auto: the GPU has bf16 tensor cores",
        precisions=["bf16", "fp16"],
        gemm_tflops={"bf16": 650.0, "fp16": 620.0, "fp32": 50.0},
        gemm_shape={name: [8192, 8192, 8192] for name in ("bf16", "fp16", "fp32")},
        copy_gbs=2600.0,
        copy_bytes=2 << 30,
    )
    return replace(made, **changes)


def hardware(**changes: Any) -> records.Hardware:
    """`gpu` with a peak of 1000 TFLOP/s from the table."""
    made = records.Hardware(
        device=gpu(),
        versions=versions(),
        precision="bf16",
        precision_reason="auto: the GPU has bf16 tensor cores",
        peak_tflops=1000.0,
        peak_source="table",
        peak_detail="a data sheet",
        peaks={
            name: records.Peak(tflops=1000.0, source="table", detail="a data sheet")
            for name in ("bf16", "fp16")
        },
        bandwidth_gbs=3350.0,
        bandwidth_source="table",
        bandwidth_detail="a data sheet",
    )
    return replace(made, **changes)


def operator_frame(trace: Trace) -> pd.DataFrame:
    """A trace's operator table as a data frame, absent values as pandas has them."""
    whole = ("self_cpu_memory_bytes", "self_device_memory_bytes")
    types: dict[str, Any] = dict.fromkeys(whole, "Int64") | {"device_ms": float}
    return pd.DataFrame(operator_table(trace)).astype(types)


def write_trace(path: Path, *, device: bool = True, memory: bool = True) -> Path:
    """A gzipped Chrome trace of prefill and one decode step, with one operator in each.

    Args:
        device: with runtime calls and the kernels that they launch, as on a GPU.
        memory: with memory records, as under ``profile_memory``.
    """
    events = [
        _event("user_annotation", "prefill", 0, 100),
        _event("user_annotation", "decode", 100, 300),
        _event("user_annotation", "decode_step[0]", 110, 300),
    ]
    for number, (stage_start, operator) in enumerate([(10, "aten::conv2d"), (120, "aten::mm")], 1):
        ids = {"External id": number, "correlation": number}
        events.append(_event("cpu_op", operator, stage_start, 50, **ids))
        if device:
            events += [
                _event("cuda_runtime", "cudaLaunchKernel", stage_start + 5, 10, **ids),
                _event("kernel", f"kernel_{number}", stage_start + 20, 30, pid=0, **ids),
            ]
        if memory:
            args = {"Bytes": 1024, "Device Type": 1 if device else 0}
            events.append(_event("cpu_instant_event", "[memory]", stage_start + 2, 0, **args))
    if device:  # what no operator launched
        events.append(_event("gpu_memset", "Memset (Device)", 400, 10, pid=0))
        events.append(_event("overhead", "Activity Buffer Request", 350, 5))
    path.write_bytes(gzip.compress(msgspec.json.encode({"traceEvents": events}), 1))
    return path


def _event(cat: str, name: str, start: int, length: int, pid: int = 7, **args: int) -> Json:
    """A complete event; `start` and `length` in microseconds."""
    return {
        "ph": "X",
        "cat": cat,
        "name": name,
        "pid": pid,
        "tid": 1,
        "ts": float(start),
        "dur": float(length),
        "args": args,
    }
