"""From raw facts to metrics: one row per run, pure arithmetic.

Formulas (docs/measurement.md): ``mfu_prefill = prefill FLOPs / (prefill s x peak)``;
``mfu_decode = decode tokens/s x FLOPs per token at the mean context / peak``;
``mfu_model = (prefill + decode FLOPs) / ((prefill + decode s) x peak)``;
``mbu_decode = bytes per step x decode tokens/s / bandwidth``. The headline takes counted FLOPs for
prefill, and for decode the closed form where the architecture is known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mfuscope.dtypes import BYTES_PER_VALUE
from mfuscope.flops import architecture
from mfuscope.records import Activity, Calibration, Ceiling, Hardware, Run

# Beyond this a utilisation is no measurement but a mistake in FLOPs, time or peak.
MFU_LIMIT = 1.5


@dataclass(frozen=True, slots=True)
class Work:
    """What a run had to do: FLOPs, and bytes to move at the least.

    Attributes:
        prefill_flops: FLOPs of the prefill.
        step_flops: FLOPs of a decode step, mean over the run's steps.
        prefill_bytes: weights read and keys and values written; None where not known.
        step_bytes: active weights and KV cache that a decode step reads, mean over the steps.
    """

    prefill_flops: float
    step_flops: float
    prefill_bytes: float | None
    step_bytes: float | None


def headline_work(calibration: Calibration, run: Run) -> Work:
    """The run's work by the headline's FLOP models."""
    contexts = step_contexts(run.prompt_tokens, run.timed.new_tokens)
    language = calibration.language
    if language is not None:
        flops = [
            float(sum(architecture.decode_flops(language, at, run.prompt_tokens).values()))
            for at in contexts
        ]
    else:
        flops = [decode_flops(calibration, "counted", at) for at in contexts]
    weights, kv = calibration.prefill_weight_bytes, calibration.prefill_kv_bytes
    return Work(
        prefill_flops=calibration.prefill_total["counted"],
        step_flops=float(np.mean(flops)),
        prefill_bytes=None if weights is None or kv is None else weights + kv,
        step_bytes=_step_bytes(calibration, run, contexts),
    )


def directional_work(calibration: Calibration) -> Work | None:
    """The work by the directional formulas, None where the model's widths are not known."""
    prefill = calibration.prefill_total.get("directional")
    step = calibration.decode_steps[0].total.get("directional")
    if prefill is None or step is None:
        return None
    return Work(prefill, step, None, None)


def decode_flops(calibration: Calibration, flop_model: str, context: float) -> float:
    """FLOPs of a decode step at a context by one FLOP model: a straight line through two steps.

    Args:
        flop_model: ``counted``, ``architecture``, or ``directional``, which keeps to its S = 512.
    """
    points = [(s.context_tokens, s.total[flop_model]) for s in calibration.decode_steps]
    return _line(points, context)


def step_contexts(prompt_tokens: int, new_tokens: int) -> range:
    """Tokens that each decode step attends to.

    Step i (from 0) attends to the prompt, the first new token and those of the i steps before it:
    ``prompt + 1 + i``; there is one step for each new token after the first. With a single new
    token, the context that a step would have.
    """
    return range(prompt_tokens + 1, prompt_tokens + 1 + max(new_tokens - 1, 1))


def mean_context(prompt_tokens: int, new_tokens: int) -> float:
    """Mean number of tokens that a run's decode steps attend to."""
    contexts = step_contexts(prompt_tokens, new_tokens)
    return (contexts[0] + contexts[-1]) / 2


def _line(points: Sequence[tuple[int, float]], at: float) -> float:
    """The straight line through two counted steps: only attention grows, by as much per token."""
    (x0, y0), (x1, y1) = points[:2]
    return y0 + (y1 - y0) / (x1 - x0) * (at - x0)


def _step_bytes(calibration: Calibration, run: Run, contexts: range) -> float | None:
    first, second = calibration.decode_steps[:2]
    if first.weight_bytes is None or first.kv_bytes is None or second.kv_bytes is None:
        return None
    language = calibration.language
    if language is not None:
        size = BYTES_PER_VALUE[run.model.dtype]
        kv = [
            float(architecture.kv_bytes(language, at, run.prompt_tokens, size)) for at in contexts
        ]
    else:
        points = [(s.context_tokens, s.kv_bytes) for s in (first, second) if s.kv_bytes]
        kv = [_line(points, at) for at in contexts]
    return first.weight_bytes + float(np.mean(kv))


def utilisation(work: Work, run: Run, flops_per_s: float) -> dict[str, float | None]:
    """MFU of prefill, decode and model against a speed in FLOP/s."""
    prefill_s, decode_s = run.timed.prefill_ms / 1e3, run.timed.decode_ms / 1e3
    steps = run.timed.new_tokens - 1
    decode_flops = steps * work.step_flops
    whole = work.prefill_flops + decode_flops
    return {
        "prefill": work.prefill_flops / (prefill_s * flops_per_s),
        "decode": decode_flops / (decode_s * flops_per_s) if steps else None,
        "model": whole / ((prefill_s + decode_s) * flops_per_s),
    }


def device_activity(run: Run, activity: Activity) -> dict[str, float | None]:
    """How much of each stage the device was at work, and how much it was given to do.

    Busy times are those of the traced pass, as only a trace has them; a profiler hardly slows
    kernels, but the launches between them. Held against the timed pass they give the busy share:
    what is missing to 1 is launch overhead and host work. Where the trace has fewer decode steps
    than the run, its steps stand for the others.
    """
    found: dict[str, float | None] = {}
    prefill, decode = activity.stages["prefill"], activity.stages.get("decode")
    steps = run.timed.new_tokens - 1
    busy = {"prefill": prefill.device_busy_ms, "decode": None}
    found["prefill_kernels"] = prefill.kernels
    found["decode_kernels_per_step"] = None
    if decode is not None and decode.steps and decode.kernels is not None:
        found["decode_kernels_per_step"] = decode.kernels / decode.steps
    if decode is not None and decode.steps and decode.device_busy_ms is not None:
        busy["decode"] = decode.device_busy_ms / decode.steps * steps
    for stage, time in (("prefill", run.timed.prefill_ms), ("decode", run.timed.decode_ms)):
        at_work = busy[stage]
        found[f"{stage}_device_busy_ms"] = at_work
        found[f"{stage}_busy_share"] = None if at_work is None else at_work / time
    return found


def run_metrics(
    run: Run, activity: Activity, calibration: Calibration, hardware: Hardware, ceiling: Ceiling
) -> dict[str, object]:
    """One row of metrics.csv.

    Raises:
        ValueError: the run was made on another device than `hardware` or `ceiling` describe, in a
            precision without a peak, with another model or prompt than `calibration` counted, or an
            MFU lies outside [0, 1.5].
    """
    name = f"run {run.variant}/{run.image}/{run.repeat}"
    _check_same(run, calibration, hardware, ceiling, name)
    dtype, timed = run.model.dtype, run.timed
    peak = hardware.peaks[dtype]
    work, rough = headline_work(calibration, run), directional_work(calibration)
    mfu = utilisation(work, run, peak.tflops * 1e12)
    for stage, value in mfu.items():
        if value is not None and not 0 <= value <= MFU_LIMIT:
            remedy = "check the peak and the calibration"
            if peak.source == "measured":
                remedy = "delete results/ceiling.json, so that the device is measured again"
            raise ValueError(
                f"{name}: mfu_{stage} is {value:.3f}, outside of 0 to {MFU_LIMIT} (peak "
                f"{peak.tflops:.4g} TFLOP/s, {peak.source}; resolution {run.page.resolution}): "
                f"{remedy}"
            )
    measured = ceiling.gemm_tflops.get(dtype)
    of_ceiling = utilisation(work, run, measured * 1e12) if measured else dict.fromkeys(mfu)
    of_rough = utilisation(rough, run, peak.tflops * 1e12) if rough else dict.fromkeys(mfu)
    steps = timed.new_tokens - 1
    tokens_per_s = steps / (timed.decode_ms / 1e3) if steps else None
    step_bytes = work.step_bytes
    known = tokens_per_s is not None and step_bytes is not None
    percentile = {
        f"step_p{q}_ms": float(np.percentile(timed.step_ms, q)) if timed.step_ms else None
        for q in (50, 95)
    }
    return {
        "variant": run.variant,
        "image": run.image,
        "repeat": run.repeat,
        "resolution": run.page.resolution,
        "weights": run.model.weights,
        "prompt_tokens": run.prompt_tokens,
        "image_tokens": run.image_tokens,
        "new_tokens": timed.new_tokens,
        "context_tokens": run.context_tokens,
        "prefill_ms": timed.prefill_ms,
        "vision_ms": timed.vision_ms,
        "projector_ms": timed.projector_ms,
        "language_prefill_ms": timed.language_prefill_ms,
        "decode_ms": timed.decode_ms,
        "decode_tokens_per_s": tokens_per_s,
        "step_mean_ms": _mean(timed.step_ms),
        **percentile,
        "prefill_gflops": work.prefill_flops / 1e9,
        "decode_gflops_per_token": work.step_flops / 1e9,
        **{f"mfu_{stage}": value for stage, value in mfu.items()},
        "mbu_decode": step_bytes * tokens_per_s / (hardware.bandwidth_gbs * 1e9)
        if known and step_bytes and tokens_per_s
        else None,
        **{f"mfu_{stage}_of_ceiling": value for stage, value in of_ceiling.items()},
        "prefill_flop_per_byte": work.prefill_flops / work.prefill_bytes
        if work.prefill_bytes
        else None,
        "decode_flop_per_byte": work.step_flops / step_bytes if step_bytes else None,
        "prefill_gflops_directional": rough.prefill_flops / 1e9 if rough else None,
        "decode_gflops_per_token_directional": rough.step_flops / 1e9 if rough else None,
        **{f"mfu_{stage}_directional": value for stage, value in of_rough.items()},
        "prefill_directional_error": rough.prefill_flops / work.prefill_flops - 1
        if rough
        else None,
        "decode_directional_error": rough.step_flops / work.step_flops - 1 if rough else None,
        "peak_tflops": peak.tflops,
        "peak_source": peak.source,
        "ceiling_tflops": measured,
        "bandwidth_gbs": hardware.bandwidth_gbs,
        "dtype": dtype,
        "attention": run.model.attention,
        "peak_memory_gb": None
        if timed.peak_memory_bytes is None
        else timed.peak_memory_bytes / 1e9,
        "energy_j": timed.energy_j,
        "traced_prefill_ms": run.traced.prefill_ms,
        "traced_decode_ms": run.traced.decode_ms,
        "traced_step_mean_ms": _mean(run.traced.step_ms),
        **device_activity(run, activity),
        "passes_agree": run.passes_agree,
        "device": run.device.name,
        "measured_at": run.measured_at,
    }


def _check_same(
    run: Run, calibration: Calibration, hardware: Hardware, ceiling: Ceiling, name: str
) -> None:
    for what, device in (("peaks", hardware.device), ("ceilings", ceiling.device)):
        ours, theirs = (run.device.name, run.device.sm_count), (device.name, device.sm_count)
        if ours != theirs:
            raise ValueError(
                f"{name} was measured on {run.device.name!r}, the {what} are those of "
                f"{device.name!r}: delete the results of one of them"
            )
    if run.model.fingerprint != calibration.model.fingerprint:
        raise ValueError(f"{name} and its calibration are of different models")
    measured = (run.page.resolution, run.prompt_tokens, run.model.dtype)
    counted = (calibration.resolution, calibration.prompt_tokens, calibration.model.dtype)
    if measured != counted:
        raise ValueError(
            f"{name} has resolution, prompt tokens and dtype {measured}, its calibration "
            f"{counted}: delete the calibration"
        )
    if run.model.dtype not in hardware.peaks:
        raise ValueError(
            f"{name}: no peak is known for {run.model.dtype} on {hardware.device.name!r}"
        )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def metrics_table(
    runs: Iterable[Run],
    activities: Iterable[Activity],
    calibrations: Mapping[tuple[str, str], Calibration],
    hardware: Hardware,
    ceiling: Ceiling,
) -> pd.DataFrame:
    """metrics.csv: one row per run, in the runs' order.

    Args:
        activities: what the runs' traces say, in the same order.
        calibrations: by (variant, resolution).
    """
    rows = []
    for run, activity in zip(runs, activities, strict=True):
        key = run.variant, run.page.resolution
        if key not in calibrations:
            raise ValueError(
                f"run {run.variant}/{run.image}/{run.repeat} was measured at {run.page.resolution},"
                " which was not planned: its page changed while the workflow ran"
            )
        rows.append(run_metrics(run, activity, calibrations[key], hardware, ceiling))
    table = pd.DataFrame(rows)
    # Whole numbers, also where one is absent.
    return table.astype({"image_tokens": "Int64", "prefill_kernels": "Int64"})
