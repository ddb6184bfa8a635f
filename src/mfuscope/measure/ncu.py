"""Nsight Compute (``ncu``): where it is, what it is asked for, and what it answers.

A pass is counted by application replay: the whole process runs again if one run of it cannot
collect every metric. Replaying kernel by kernel would save and restore the model's memory for each
of them.
"""

import csv
import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Places where installers put ncu without adding it to PATH; of several versions the last counts.
_USUAL: Final = ("/usr/local/cuda/bin/ncu", "/opt/nvidia/nsight-compute/*/ncu")

_PARAMETERS: Final = Path("/proc/driver/nvidia/params")

TIME: Final = "gpu__time_duration.sum"
DRAM: Final = ("dram__bytes_read.sum", "dram__bytes_write.sum")

_TENSOR: Final = "sm__ops_path_tensor_"
_BLACKWELL: Final = tuple(
    f"{_TENSOR}op_{op}_src_{{}}"
    for op in ("hmma", "utchmma")  # warp-wide, and tcgen05's
)
_FP16: Final = ("fp16_dst_fp32", "fp16_dst_fp16")


@dataclass(frozen=True, slots=True)
class _Chip:
    """What the counters of a chip are called; the tensor pipes' by the precision they read."""

    name: str
    tensor: Mapping[str, tuple[str, ...]]
    dram: bool = True


def _plain(*fp16: str) -> dict[str, tuple[str, ...]]:
    return {
        "bf16": (f"{_TENSOR}src_bf16_dst_fp32",),
        "fp16": tuple(f"{_TENSOR}src_{name}" for name in fp16),
    }


_TCGEN05: Final = {
    "bf16": tuple(name.format("bf16_dst_fp32") for name in _BLACKWELL),
    "fp16": tuple(name.format(one) for name in _BLACKWELL for one in _FP16),
}

#: By compute capability. Source: ``ncu --query-metrics --chip NAME``, Nsight Compute 2025.3.1.
#: Chips without ``dram__bytes_read`` share the host's memory (Orin, Thor, Spark), or count reads
#: and writes together (consumer Blackwell).
_CHIPS: Final[Mapping[str, _Chip]] = {
    "7.5": _Chip(
        "tu102",
        {"fp16": (f"{_TENSOR}src_fp16_bf16_tf32_dst_fp32", f"{_TENSOR}src_fp16_dst_fp16")},
    ),
    "8.0": _Chip("ga100", _plain(*_FP16)),
    "8.6": _Chip("ga102", _plain(*_FP16)),
    "8.7": _Chip("ga10b", _plain(*_FP16), dram=False),
    "8.9": _Chip("ad102", _plain(*_FP16)),
    "9.0": _Chip("gh100", _plain("fp16")),
    "10.0": _Chip("gb100", _TCGEN05),
    "10.3": _Chip("gb110", _TCGEN05),
    "11.0": _Chip("gb10b", _TCGEN05, dram=False),
    "12.0": _Chip("gb202", _plain(*_FP16), dram=False),
    "12.1": _Chip("gb20b", _plain(*_FP16), dram=False),
}

_NO_PERMISSION: Final = "ERR_NVGPUCTRPERM"
_ERROR: Final = re.compile(r"^==ERROR== (.+)$", re.MULTILINE)
_RANGE: Final = re.compile(r'"<default domain>:([^:"]+):')
_RANGES: Final = "Push/Pop_Range"  # in the name of the column


@dataclass(frozen=True, slots=True)
class Metrics:
    """The counters to collect.

    Attributes:
        tensor: those whose sum is the FLOPs of the tensor pipes; empty where there is none.
        dram: bytes read, and bytes written; empty where a chip does not tell them.
        absent: why a group is empty.
    """

    tensor: tuple[str, ...]
    dram: tuple[str, ...]
    absent: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.tensor, *self.dram, TIME)


def choose_metrics(compute_capability: str | None, dtype: str) -> Metrics:
    """The counters of a GPU for a model of a precision (``bf16``, ``fp16``, ``fp32``)."""
    chip = _CHIPS.get(compute_capability or "")
    if chip is None:
        reason = f"the counters of compute capability {compute_capability} are not known"
        return Metrics((), (), {"tensor_flops": reason, "dram_bytes": reason})
    absent = {}
    tensor = tuple(f"{name}.sum" for name in chip.tensor.get(dtype, ()))
    if not tensor:
        absent["tensor_flops"] = (
            "fp32 products run outside of the tensor pipes"
            if dtype == "fp32"
            else f"{chip.name} counts no {dtype} FLOPs of its tensor pipes"
        )
    if not chip.dram:
        absent["dram_bytes"] = f"{chip.name} does not count bytes read and written by its DRAM"
    return Metrics(tensor, DRAM if chip.dram else (), absent)


def find_ncu() -> Path | None:
    """The program, on PATH or where installers put it; None if there is none."""
    if found := shutil.which("ncu"):
        return Path(found)
    usual = [path for pattern in _USUAL for path in sorted(Path("/").glob(pattern[1:]))]
    return usual[-1] if usual else None


def command(
    ncu: Path, metrics: Sequence[str], log: Path, program: Sequence[str], *, graphs: bool
) -> list[str]:
    """The command that counts what a program does between ``cudaProfilerStart`` and ``Stop``.

    Clocks and caches stay as they are in a measurement. The answer is a table in `log`.

    Args:
        graphs: the program replays CUDA graphs, whose kernels are counted one by one.
    """
    of_graphs = ("--graph-profiling", "node", "--app-replay-match", "name") if graphs else ()
    return [
        *(str(ncu), "--profile-from-start", "off", "--replay-mode", "application"),
        *("--clock-control", "none", "--cache-control", "none", "--nvtx", *of_graphs),
        *("--metrics", ",".join(metrics)),
        *("--csv", "--page", "raw", "--print-units", "base", "--log-file", str(log)),
        *program,
    ]


@dataclass(frozen=True, slots=True)
class KernelCount:
    """A kernel launch and its counters.

    Attributes:
        kernel: its name as ncu demangles it.
        ranges: the NVTX ranges around its launch, the outermost first.
        values: by name of the metric.
    """

    kernel: str
    ranges: tuple[str, ...]
    values: Mapping[str, float]


def read_counts(text: str, metrics: Sequence[str]) -> list[KernelCount]:
    """The launches in ncu's table, in the order in which they were made.

    Raises:
        ValueError: the text holds no table or no launch, or a launch lacks one of the metrics.
    """
    lines = [line for line in text.splitlines() if line.startswith('"')]
    rows = csv.DictReader(iter(lines))
    ranges = next((name for name in rows.fieldnames or () if _RANGES in name), None)
    if ranges is None or "Kernel Name" not in (rows.fieldnames or ()):
        raise ValueError("ncu wrote no table of kernels")
    counts = [
        KernelCount(
            kernel=row["Kernel Name"],
            ranges=tuple(_RANGE.findall(row[ranges])),
            values={name: _number(row, name) for name in metrics},
        )
        for row in rows
        if row["ID"]  # the first row has the units
    ]
    if not counts:
        raise ValueError("ncu counted no kernel")
    return counts


def _number(row: Mapping[str, str], metric: str) -> float:
    text = (row.get(metric) or "").replace(",", "")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"ncu gave {text or 'nothing'!r} for {metric}")
    return number


def obstacle(ncu: Path | None, device: str) -> str:
    """What keeps ncu from counting on a device, with the remedy; empty if nothing is known to.

    Args:
        ncu: see `find_ncu`.
        device: id of the device: a GPU's UUID, or that of a MIG slice.
    """
    if ncu is None:
        return (
            "there is no ncu on PATH. Remedy: install Nsight Compute of the CUDA version in use "
            "(it is part of the CUDA toolkit)"
        )
    if device.startswith("MIG-"):
        return (
            "a MIG slice shares the counters of its card with other slices. Remedy: count on a "
            "card without MIG"
        )
    if os.geteuid() and "RmProfilingAdminOnly: 1" in _driver_parameters():
        return _no_permission()
    return ""


def version(ncu: Path) -> str:
    """The version of ncu, such as 2025.3.1.0; empty where it does not say."""
    try:
        said = subprocess.run([str(ncu), "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"Version (\S+)", said.stdout)
    return found[1] if found else ""


def error_in(output: str) -> str:
    """The error that ncu reports, with the remedy where it is known, in one line; or empty.

    After an error its table holds a part at most.

    Args:
        output: what ncu and the program printed.
    """
    if _NO_PERMISSION in output:
        return _no_permission()
    found = _ERROR.search(output)
    return f"ncu: {' '.join(found[1].split())}" if found else ""


def _no_permission() -> str:
    return (
        f"the driver lets administrators alone read performance counters ({_NO_PERMISSION}). "
        "Remedy: run as root, start the container with `--cap-add SYS_ADMIN`, or load the driver "
        "with `NVreg_RestrictProfilingToAdminUsers=0`"
    )


def _driver_parameters() -> str:
    try:
        return _PARAMETERS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # another system, or a container that does not show them
