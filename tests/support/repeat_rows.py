"""Rows of metrics.csv for repeats of one page, of an undisturbed H100; tests change columns."""

from typing import Any

import pandas as pd

ROW: dict[str, Any] = {
    "variant": "baseline",
    "image": "page.png",
    "repeat": 0,
    "new_tokens": 64,
    "prefill_ms": 80.0,
    "vision_ms": 50.0,
    "projector_ms": 0.2,
    "language_prefill_ms": 20.0,
    "decode_ms": 1008.0,
    "step_p50_ms": 16.0,
    "stalls": 0,
    "stall_ms": 0.0,
    "sm_clock_mhz": 1980.0,
    "throttle_reasons": "none",
    "runs_before": 5,
    "prefill_wait_ms": 0.1,
    "decode_wait_ms": 0.5,
    "prefill_collections_ms": 0.0,
    "decode_collections_ms": 0.0,
    "prefill_device_busy_ms": 40.0,
    "decode_device_busy_ms": 145.0,
    "prefill_major_faults": 0,
    "decode_major_faults": 0,
    "steal_ms": 0.0,
    "cpu_mhz": 3500.0,
    "gpu_processes": 0,
    "overlapping_jobs": 0,
    "timed_passes": 3,
    "prefill_spread": 0.02,
    "decode_spread": 0.02,
    "session": "call",
    "process": "one",
    "load_1min": 1.0,
    "reference_prefill_ms": 79.0,
    "reference_step_ms": 15.5,
}


def row(**changes: Any) -> dict[str, Any]:
    """A row with these columns changed."""
    unknown = changes.keys() - ROW.keys()
    if unknown:
        raise KeyError(unknown)
    return ROW | changes


def table(*changes: dict[str, Any]) -> pd.DataFrame:
    """One row per repeat, each with its changes."""
    return pd.DataFrame([row(**{"repeat": i} | one) for i, one in enumerate(changes)])
