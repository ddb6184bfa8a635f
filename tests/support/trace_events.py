"""Hand-made events of traces, and the times that a trace adds up to."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from mfuscope.core.runs import RunKey

Json = dict[str, Any]

KEY = RunKey("baseline", "page.png", 0)


# A start as Kineto writes it: 16 digits with the nanoseconds, the most that a double holds.
EPOCH_NS = 4_592_202_085_490_073


def microseconds(ns: int) -> msgspec.Raw:
    return msgspec.Raw(f"{ns // 1000}.{ns % 1000:03d}".encode())


def event(cat: str, name: str, start: int, end: int, tid: int | str = 1, **args: int) -> Json:
    """A complete event from ``start`` to ``end``, in ns after the epoch."""
    return {
        "ph": "X",
        "cat": cat,
        "name": name,
        "pid": 0 if cat in ("kernel", "gpu_memcpy", "gpu_memset") else 7,
        "tid": tid,
        "ts": microseconds(EPOCH_NS + start),
        "dur": microseconds(end - start),
        "args": {key.replace("_", " "): value for key, value in args.items()},
    }


op = partial(event, "cpu_op")


call = partial(event, "cuda_runtime")


kernel = partial(event, "kernel")


annotation = partial(event, "user_annotation")


def memory(at: int, nbytes: int, device_type: int, tid: int = 1) -> Json:
    args = {"Bytes": nbytes, "Device Type": device_type, "Addr": 2**64 - 1}
    instant = event("cpu_instant_event", "[memory]", at, at, tid) | {"ph": "i", "s": "t"}
    return {key: value for key, value in instant.items() if key != "dur"} | {"args": args}


def write(path: Path, events: list[Json]) -> Path:
    document = {"schemaVersion": 1, "traceEvents": events, "traceName": "a"}
    path.write_bytes(gzip.compress(msgspec.json.encode(document), 1))
    return path


def row(table: pd.DataFrame, stage: str, operator: str) -> Json:
    mine = table[(table["stage"] == stage) & (table["operator"] == operator)]
    assert len(mine) == 1
    return {str(key): value for key, value in mine.iloc[0].items()}


def device_run() -> list[Json]:
    """Two stages; launches in, across and without operators; streams that overlap."""
    return [
        annotation("prefill", 0, 10_000),
        annotation("vision", 100, 6_000),
        op("aten::linear", 1_000, 5_000, External_id=1),
        op("aten::addmm", 1_500, 4_500, External_id=2),
        call("cudaLaunchKernel", 2_000, 3_000, External_id=2, correlation=10),
        call("cudaMemsetAsync", 3_500, 4_000, External_id=2, correlation=11),
        # This call names no operator: the operator that encloses it is its own.
        call("cudaLaunchKernel", 4_600, 4_800, correlation=12),
        # A graph launch stands in no operator at all.
        call("cudaGraphLaunch", 8_000, 9_000, correlation=13),
        annotation("decode", 10_000, 30_000),
        annotation("decode_step[0]", 10_000, 20_000),
        annotation("decode_step[1]", 20_000, 29_000),
        # On another thread, as autograd's or a pool's.
        op("aten::copy_", 21_000, 22_000, tid=2, External_id=3),
        event("cuda_driver", "cuLaunchKernel", 21_100, 21_200, 2, External_id=3, correlation=14),
        op("aten::empty", 31_000, 32_000, External_id=4),
        # Launched in prefill, ran in decode; two streams overlap for 500 ns.
        kernel("gemm", 11_000, 13_000, tid=7, External_id=2, correlation=10),
        event("gpu_memset", "Memset", 12_500, 14_000, 9, External_id=2, correlation=11),
        kernel("bias", 14_000, 14_100, tid=7, correlation=12),
        kernel("graph a", 16_000, 16_300, tid=7, correlation=13),
        kernel("graph b", 16_100, 16_200, tid=9, correlation=13),
        event("gpu_memcpy", "Memcpy DtoH", 22_000, 22_700, 7, External_id=3, correlation=14),
        kernel("stray", 23_000, 23_009, tid=7, correlation=99),
        event("gpu_user_annotation", "prefill", 11_000, 16_300, 7),
        event("cuda_sync", "Stream Sync", 23_000, 24_000, 7, correlation=15),
        {"ph": "f", "id": 10, "pid": 0, "tid": 7, "ts": 11, "cat": "ac2g", "name": "ac2g"},
        {"ph": "M", "name": "process_name", "ts": 0, "pid": 7, "tid": 0, "args": {"name": "x"}},
        {"ph": "X", "cat": "Trace", "name": "P", "pid": "Spans", "tid": "P", "ts": 0, "dur": 1},
    ]
