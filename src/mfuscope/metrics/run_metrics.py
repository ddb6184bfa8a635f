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

from mfuscope.core.counters import Counters
from mfuscope.core.errors import UserError
from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
from mfuscope.core.runs import RunKey
from mfuscope.metrics.counted import counter_columns
from mfuscope.metrics.device import device_activity
from mfuscope.metrics.passes import Reading, Span, orders, overlaps, pass_columns
from mfuscope.metrics.workload import Workload, directional_workload, headline_workload

# A higher utilisation means an error in FLOPs, time or peak.
MFU_LIMIT = 1.5

# Columns of integers that may be absent.
_WHOLE = (
    "image_tokens",
    "loop_tokens",
    "prefill_kernels",
    "prefill_lost_launches",
    "decode_lost_launches",
    "trace_cut_events",
    "trace_left_out_events",
    "prefill_involuntary_switches",
    "decode_involuntary_switches",
    "prefill_major_faults",
    "decode_major_faults",
    "gpu_processes",
)


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


def run_metrics(
    run: Run,
    activity: Activity,
    calibration: Calibration,
    hardware: Hardware,
    ceiling: Ceiling,
    counters: Counters | None = None,
) -> dict[str, object]:
    """One row of metrics.csv.

    Args:
        counters: of the run's resolution, None where nothing was counted.

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
        "ending": run.ending.by if run.ending else None,
        "loop_tokens": run.ending.repeated_tokens if run.ending else None,
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
        **counter_columns(run, calibration, counters, mfu),
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
        **pass_columns(run),
        "reference_prefill_ms": run.session.reference.prefill_ms,
        "reference_step_ms": run.session.reference.step_ms,
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


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def metrics_table(
    runs: Iterable[Run],
    activities: Iterable[Activity],
    calibrations: Mapping[tuple[str, str], Calibration],
    hardware: Hardware,
    ceiling: Ceiling,
    counters: Mapping[tuple[str, str], Counters] | None = None,
) -> pd.DataFrame:
    """metrics.csv: one row per run, in the runs' order.

    Args:
        activities: of the runs' traces, in the same order.
        calibrations: by (variant, resolution).
        counters: the same, where hardware was counted.

    Raises:
        UserError: see `run_metrics`; or a run's resolution has no calibration.
    """
    rows: list[dict[str, object]] = []
    spans, readings = [], []
    for run, activity in zip(runs, activities, strict=True):
        key = run.variant, run.page.resolution
        if key not in calibrations:
            raise UserError(
                f"run {key_of(run)} was measured at {run.page.resolution}, which has no "
                "calibration: its page changed while the workflow ran",
                "run the same command again",
            )
        rows.append(
            run_metrics(
                run, activity, calibrations[key], hardware, ceiling, (counters or {}).get(key)
            )
        )
        spans.append(Span.of(run))
        readings.append(Reading.of(activity))
    table = pd.DataFrame(rows)
    after = list(table.columns).index("process") + 1
    together = {"order": orders(spans), "overlapping_jobs": overlaps(spans, readings)}
    for place, (name, values) in enumerate(together.items(), after):
        table.insert(place, name, values)
    return table.astype(dict.fromkeys(_WHOLE, "Int64"))
