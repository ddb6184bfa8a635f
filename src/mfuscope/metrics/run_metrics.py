"""From raw facts to metrics: one row per run, pure arithmetic.

Formulas (docs/measurement.md): ``mfu_prefill = prefill FLOPs / (prefill s x peak)``;
``mfu_decode = decode tokens/s x FLOPs per token at the mean context / peak``;
``mfu_model = (prefill + decode FLOPs) / ((prefill + decode s) x peak)``;
``mbu_decode = bytes per step x steps/s / bandwidth``. FLOPs, tokens and pages count every copy of a
batch; times are the batch's. The headline takes counted FLOPs for prefill, and for decode the
closed form where the architecture is known.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from mfuscope.core.errors import UserError
from mfuscope.core.records import Activity, Calibration, Ceiling, Conditions, Hardware, Run
from mfuscope.core.runs import RunKey
from mfuscope.metrics.workload import Workload, directional_workload, headline_workload

# A higher utilisation means an error in FLOPs, time or peak.
MFU_LIMIT = 1.5


def key_of(run: Run) -> RunKey:
    """The key of a run's record."""
    return RunKey(run.variant, run.image, run.repeat)


def utilisation(
    work: Workload,
    steps: int,
    prefill_ms: float | None,
    decode_ms: float | None,
    flops_per_s: float,
) -> dict[str, float | None]:
    """MFU of ``prefill``, ``decode`` and ``model`` (both) for a speed in FLOP/s.

    Args:
        steps: decode steps of the run.
        prefill_ms, decode_ms: times of the stages; the MFU of an absent time is None.
    """

    def share(flops: float, *ms: float | None) -> float | None:
        known = [one for one in ms if one is not None]
        if len(known) < len(ms) or not sum(known):
            return None
        return flops / (sum(known) / 1e3 * flops_per_s)

    decode_flops = steps * work.step_flops
    both = (prefill_ms, decode_ms) if steps else (prefill_ms,)
    return {
        "prefill": share(work.prefill_flops, prefill_ms),
        "decode": share(decode_flops, decode_ms) if steps else None,
        "model": share(work.prefill_flops + decode_flops, *both),
    }


def device_activity(run: Run, activity: Activity) -> dict[str, float | None]:
    """Busy time of the device and number of kernels, per stage.

    Busy times come from the traced pass: a profiler slows launches, but hardly kernels. The busy
    share is the busy time divided by the time of the timed pass; the rest to 1 is launch overhead
    and host work. If the trace has fewer decode steps than the run, decode is scaled by steps.
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
        UserError: the precision has no peak, model or prompt differ from those of `calibration`,
            or an MFU lies outside of [0, 1.5].
    """
    name = f"run {key_of(run)}"
    _check_same(run, calibration, hardware, name)
    dtype, timed = run.model.dtype, run.timed
    peak = hardware.peaks[dtype]
    work = headline_workload(calibration, run)
    rough = directional_workload(calibration, run.batch_size)
    steps = timed.new_tokens - 1
    at_work = device_activity(run, activity)
    wall = steps, timed.prefill_ms, timed.decode_ms
    busy = steps, at_work["prefill_device_busy_ms"], at_work["decode_device_busy_ms"]
    mfu = utilisation(work, *wall, peak.tflops * 1e12)
    mfu_busy = utilisation(work, *busy, peak.tflops * 1e12)
    for stage, value in mfu.items():
        if value is not None and not 0 <= value <= MFU_LIMIT:
            remedy = "check the peak and the calibration"
            if peak.source == "measured":
                remedy = (
                    "something else may have slowed the measurement of the device: while the "
                    "machine is idle, `rm results/ceiling.json` and run the same command again"
                )
            raise UserError(
                f"{name}: mfu_{stage} is {value:.3f}, outside of 0 to {MFU_LIMIT} (peak "
                f"{peak.tflops:.4g} TFLOP/s, {peak.source}; resolution {run.page.resolution})",
                remedy,
            )
    measured = ceiling.gemm_tflops.get(dtype)
    of_ceiling = utilisation(work, *wall, measured * 1e12) if measured else dict.fromkeys(mfu)
    of_rough = utilisation(rough, *wall, peak.tflops * 1e12) if rough else dict.fromkeys(mfu)
    step_bytes, copies = work.step_bytes, run.batch_size
    page_ms = timed.prefill_ms + timed.decode_ms
    stalls = step_stalls(timed.step_ms)
    percentile = {
        f"step_p{q}_ms": float(np.percentile(timed.step_ms, q)) if timed.step_ms else None
        for q in (50, 95, 99)
    }
    return {
        "variant": run.variant,
        "image": run.image,
        "repeat": run.repeat,
        "resolution": run.page.resolution,
        "weights": run.model.weights,
        "prompt_tokens": run.prompt_tokens,
        "image_tokens": run.image_tokens,
        "batch_size": copies,
        "new_tokens": timed.new_tokens,
        "context_tokens": run.context_tokens,
        "prefill_ms": timed.prefill_ms,
        "vision_ms": timed.vision_ms,
        "projector_ms": timed.projector_ms,
        "language_prefill_ms": timed.language_prefill_ms,
        "decode_ms": timed.decode_ms,
        "page_ms": page_ms,
        "pages_per_s": copies / (page_ms / 1e3),
        "decode_tokens_per_s": copies * steps / (timed.decode_ms / 1e3) if steps else None,
        "step_mean_ms": _mean(timed.step_ms),
        **percentile,
        "stalls": len(stalls),
        "stall_ms": sum(stalls),
        "prefill_gflops": work.prefill_flops / 1e9,
        "decode_gflops_per_token": work.step_flops / copies / 1e9,
        **{f"mfu_{stage}": value for stage, value in mfu.items()},
        "mbu_decode": _mbu(step_bytes, steps, timed.decode_ms, hardware),
        **{f"mfu_{stage}_of_ceiling": value for stage, value in of_ceiling.items()},
        **{f"mfu_{stage}_busy": value for stage, value in mfu_busy.items()},
        "mbu_decode_busy": _mbu(step_bytes, steps, busy[2], hardware),
        "decode_weight_gb_per_token": _giga(work.step_weight_bytes, copies),
        "decode_kv_gb_per_token": _giga(work.step_kv_bytes, copies),
        "prefill_flop_per_byte": work.prefill_flops / work.prefill_bytes
        if work.prefill_bytes
        else None,
        "decode_flop_per_byte": work.step_flops / step_bytes if step_bytes else None,
        "prefill_gflops_directional": rough.prefill_flops / 1e9 if rough else None,
        "decode_gflops_per_token_directional": rough.step_flops / copies / 1e9 if rough else None,
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
        "experts": run.settings["experts"],
        "experts_implementation": run.model.experts_implementation,
        "cache": run.settings["cache"],
        "compile": run.settings["compile"],
        "threads": run.settings["threads"],
        "compile_s": run.compilation.compile_s if run.compilation else None,
        "no_repeat_ngram_size": run.settings["no_repeat_ngram_size"],
        "peak_memory_gb": _giga(timed.peak_memory_bytes),
        "energy_j": timed.energy_j,
        "energy_per_page_j": None if timed.energy_j is None else timed.energy_j / copies,
        "traced_prefill_ms": run.traced.prefill_ms,
        "traced_decode_ms": run.traced.decode_ms,
        "traced_step_mean_ms": _mean(run.traced.step_ms),
        **at_work,
        "sm_clock_mhz": _clock(timed.conditions_before, timed.conditions_after),
        "throttle_reasons": _throttled(timed.conditions_before, timed.conditions_after),
        "runs_before": run.runs_before,
        "passes_agree": run.passes_agree,
        "token_ids_sha256": timed.token_ids_sha256,
        "device": run.device.name,
        "measured_at": run.measured_at,
    }


def _check_same(run: Run, calibration: Calibration, hardware: Hardware, name: str) -> None:
    measured = (run.page.resolution, run.prompt_tokens, run.model.dtype, run.model.fingerprint)
    counted = (
        calibration.resolution,
        calibration.prompt_tokens,
        calibration.model.dtype,
        calibration.model.fingerprint,
    )
    if measured != counted:
        path = f"results/{run.variant}/calibration/{run.page.resolution}.json"
        raise UserError(
            f"{name} has resolution, prompt tokens, dtype and model {measured}, its calibration "
            f"{counted}",
            f"`rm {shlex.quote(path)}` and run the same command again",
        )
    if run.model.dtype not in hardware.peaks:
        raise UserError(
            f"{name}: no peak is known for {run.model.dtype} on {hardware.device.name!r}",
            "`rm results/ceiling.json` and run the same command again",
        )


def _mbu(
    step_bytes: float | None, steps: int, decode_ms: float | None, hardware: Hardware
) -> float | None:
    if step_bytes is None or not decode_ms or not steps:
        return None
    return step_bytes * steps / (decode_ms / 1e3) / (hardware.bandwidth_gbs * 1e9)


def step_stalls(step_ms: Sequence[float]) -> list[float]:
    """What each stalled decode step takes beyond twice the median step, in ms."""
    if not step_ms:
        return []
    limit = 2 * float(np.median(step_ms))
    return [ms - limit for ms in step_ms if ms > limit]


def _giga(value: float | None, shared_by: int = 1) -> float | None:
    return None if value is None else value / shared_by / 1e9


def _clock(*conditions: Conditions) -> float | None:
    """The lowest SM clock in MHz: a drop explains more than a recovery."""
    known = [one.sm_clock_mhz for one in conditions if one.sm_clock_mhz is not None]
    return min(known, default=None)


def _throttled(*conditions: Conditions) -> str | None:
    """Throttle reasons joined by `+`, or `none`; None where not known."""
    known = [one.throttle_reasons for one in conditions if one.throttle_reasons is not None]
    found = sorted({reason for reasons in known for reason in reasons})
    return ("+".join(found) or "none") if known else None


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
        activities: of the runs' traces, in the same order.
        calibrations: by (variant, resolution).

    Raises:
        UserError: see `run_metrics`; or a run's resolution has no calibration.
    """
    rows = []
    for run, activity in zip(runs, activities, strict=True):
        key = run.variant, run.page.resolution
        if key not in calibrations:
            raise UserError(
                f"run {key_of(run)} was measured at {run.page.resolution}, which has no "
                "calibration: its page changed while the workflow ran",
                "run the same command again",
            )
        rows.append(run_metrics(run, activity, calibrations[key], hardware, ceiling))
    table = pd.DataFrame(rows)
    # Integers, absent values included.
    return table.astype({"image_tokens": "Int64", "prefill_kernels": "Int64"})
