"""From raw facts to metrics: one row per run, pure arithmetic.

Formulas (docs/measurement.md): ``mfu_prefill = prefill FLOPs / (prefill s x peak)``;
``mfu_decode = decode tokens/s x FLOPs per token at the mean context / peak``;
``mfu_model = (prefill + decode FLOPs) / ((prefill + decode s) x peak)``.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from mfuscope.records import Calibration, Hardware, Run

# Beyond this a utilisation is no measurement but a mistake in FLOPs, time or peak.
MFU_LIMIT = 1.5


def flops_per_step(calibration: Calibration, context_tokens: float) -> float:
    """FLOPs of a decode step that attends to `context_tokens` tokens.

    The straight line through the two counted steps: only attention grows with the context, and it
    grows by the same amount for every token.
    """
    first, second = calibration.decode_steps[:2]
    slope = (second.total - first.total) / (second.context_tokens - first.context_tokens)
    return first.total + slope * (context_tokens - first.context_tokens)


def mean_context(prompt_tokens: int, new_tokens: int) -> float:
    """Mean number of tokens that the decode steps attend to.

    Step i (from 0) attends to the prompt, the first new token and those of the i steps before it:
    ``prompt + 1 + i``; there is one step for each new token after the first.
    """
    return prompt_tokens + 1 + max(new_tokens - 2, 0) / 2


def run_metrics(run: Run, calibration: Calibration, hardware: Hardware) -> dict[str, object]:
    """One row of metrics.csv.

    Raises:
        ValueError: the run was made on another device than `hardware` describes, in a precision
            without a peak, with another model than `calibration` counted, or an MFU lies outside
            [0, 1.5].
    """
    name = f"run {run.variant}/{run.image}/{run.repeat}"
    if run.device.name != hardware.device.name:
        raise ValueError(
            f"{name} was measured on {run.device.name!r}, the peaks are those of "
            f"{hardware.device.name!r}: delete the results of one of them"
        )
    if run.model.fingerprint != calibration.model.fingerprint:
        raise ValueError(f"{name} and its calibration are of different models")
    if run.model.dtype not in hardware.peaks:
        raise ValueError(
            f"{name}: no peak is known for {run.model.dtype} on {hardware.device.name!r}"
        )
    peak = hardware.peaks[run.model.dtype]
    timed = run.timed
    steps = timed.new_tokens - 1
    prefill_s, decode_s = timed.prefill_ms / 1e3, timed.decode_ms / 1e3
    prefill_flops = calibration.prefill_total["counted"]
    per_token = flops_per_step(calibration, mean_context(run.prompt_tokens, timed.new_tokens))
    tokens_per_s = steps / decode_s if steps else None
    peak_flops = peak.tflops * 1e12
    mfu = {
        "mfu_prefill": prefill_flops / (prefill_s * peak_flops),
        "mfu_decode": tokens_per_s * per_token / peak_flops if tokens_per_s else None,
        "mfu_model": (prefill_flops + steps * per_token) / ((prefill_s + decode_s) * peak_flops),
    }
    for key, value in mfu.items():
        if value is not None and not 0 <= value <= MFU_LIMIT:
            raise ValueError(
                f"{name}: {key} is {value:.3f}, outside of 0 to {MFU_LIMIT}: check the peak "
                f"({peak.tflops} TFLOP/s, {peak.source}) and the calibration of "
                f"{run.page.resolution}"
            )
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
        **percentile,
        "prefill_gflops": prefill_flops / 1e9,
        "decode_gflops_per_token": per_token / 1e9,
        **mfu,
        "peak_tflops": peak.tflops,
        "peak_source": peak.source,
        "dtype": run.model.dtype,
        "attention": run.model.attention,
        "peak_memory_gb": None
        if timed.peak_memory_bytes is None
        else timed.peak_memory_bytes / 1e9,
        "energy_j": timed.energy_j,
        "traced_prefill_ms": run.traced.prefill_ms,
        "traced_decode_ms": run.traced.decode_ms,
        "passes_agree": run.passes_agree,
        "device": run.device.name,
        "measured_at": run.measured_at,
    }


def metrics_table(
    runs: Iterable[Run],
    calibrations: Mapping[tuple[str, str], Calibration],
    hardware: Hardware,
) -> pd.DataFrame:
    """metrics.csv: one row per run, in the runs' order.

    Args:
        calibrations: by (variant, resolution).
    """
    table = pd.DataFrame(
        [run_metrics(run, calibrations[run.variant, run.page.resolution], hardware) for run in runs]
    )
    # Whole numbers, also where one is absent.
    return table.astype({"image_tokens": "Int64"})
