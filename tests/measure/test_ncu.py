"""Nsight Compute: what it is asked for, what it answers, and what keeps it from counting."""

import gzip
import stat
from pathlib import Path

import pytest
from checkpoints import ROOT

from mfuscope.measure import ncu

TABLE = gzip.decompress((ROOT / "tests/data/h100-counters.csv.gz").read_bytes()).decode()
ROWS = [line for line in TABLE.splitlines() if line.startswith('"')]
HOPPER = ncu.choose_metrics("9.0", "bf16")


def test_the_answer_of_a_gpu_is_read() -> None:
    """The table of an H100: DeepSeek-OCR nano at 1024, prefill and one decode step."""
    counts = ncu.read_counts(TABLE, HOPPER.names)
    assert len(counts) == 784
    stages = [count.ranges for count in counts]
    assert sum(ranges[:1] == ("prefill",) for ranges in stages) == 510
    assert sum(ranges[:2] == ("decode", "decode_step[0]") for ranges in stages) == 265
    flops = sum(count.values["sm__ops_path_tensor_src_bf16_dst_fp32.sum"] for count in counts)
    assert flops == 10_757_865_472 + 335_544_320
    assert all(count.values[ncu.TIME] > 0 for count in counts)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no table"),
        ("==ERROR== something", "no table"),
        ("\n".join(ROWS[:2]), "no kernel"),
        (TABLE.replace('"2,880"', '"n/a"'), "'n/a' for gpu__time_duration.sum"),
        (TABLE.replace('"2,880"', '"nan"'), "'nan' for gpu__time_duration.sum"),
    ],
)
def test_what_is_no_answer_is_none(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ncu.read_counts(text, HOPPER.names)


def test_a_counter_that_ncu_leaves_out_is_not_taken_for_0() -> None:
    with pytest.raises(ValueError, match="nothing' for sm__ops"):
        ncu.read_counts(TABLE, ("sm__ops_path_tensor_src_fp16.sum",))


@pytest.mark.parametrize(
    ("capability", "dtype", "tensor", "dram"),
    [
        ("7.5", "fp16", 2, True),
        ("8.0", "bf16", 1, True),
        ("8.9", "fp16", 2, True),
        ("9.0", "fp16", 1, True),
        ("10.0", "bf16", 2, True),  # warp-wide products, and those of tensor memory
        ("12.0", "bf16", 1, False),
        ("11.0", "fp16", 4, False),
    ],
)
def test_each_architecture_has_its_counters(
    capability: str, dtype: str, tensor: int, dram: bool
) -> None:
    found = ncu.choose_metrics(capability, dtype)
    assert (len(found.tensor), bool(found.dram)) == (tensor, dram)
    assert all(dtype in name for name in found.tensor)
    assert found.names[-1] == ncu.TIME
    assert set(found.absent) == (set() if dram else {"dram_bytes"})


@pytest.mark.parametrize(
    ("capability", "dtype", "reason"),
    [
        ("9.0", "fp32", "outside of the tensor pipes"),
        ("7.5", "bf16", "tu102 counts no bf16"),
        ("99.0", "bf16", "99.0 are not known"),
        (None, "bf16", "are not known"),
    ],
)
def test_what_has_no_counter_is_absent_with_a_reason(
    capability: str | None, dtype: str, reason: str
) -> None:
    found = ncu.choose_metrics(capability, dtype)
    assert not found.tensor
    assert reason in found.absent["tensor_flops"]


def test_replays_of_graphs_are_counted_kernel_by_kernel(tmp_path: Path) -> None:
    plain, graphs = (
        ncu.command(Path("ncu"), ["m"], tmp_path / "log", ["python"], graphs=graphs)
        for graphs in (False, True)
    )
    assert [word for word in graphs if word not in plain] == [
        *("--graph-profiling", "node", "--app-replay-match", "name")
    ]
    assert plain[-1] == "python"
    assert {"--clock-control", "--cache-control"} <= set(plain)  # both stay as they are


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission", "--cap-add SYS_ADMIN"),
        ("==PROF== x\n==ERROR== The application returned\n", "ncu: The application returned"),
        ("==PROF== Profiling\n==WARNING== Note\n", ""),
    ],
)
def test_errors_of_ncu_are_told_with_their_remedy(output: str, reason: str) -> None:
    found = ncu.error_in(output)
    assert reason in found
    assert bool(found) == bool(reason)


def test_the_newest_of_the_usual_places_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ncu, "_USUAL", (f"{tmp_path}/*/ncu",))
    assert ncu.find_ncu() is None
    for year in ("2024.1", "2025.3"):
        program = tmp_path / year / "ncu"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho 'Version 2025.3.1.0 (build 1)'\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = ncu.find_ncu()
    assert found == tmp_path / "2025.3" / "ncu"
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert ncu.version(found) == "2025.3.1.0"


def test_obstacles_are_known_before_anything_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "install Nsight Compute" in ncu.obstacle(None, "GPU-1")
    assert "MIG" in ncu.obstacle(Path("ncu"), "MIG-1")
    parameters = tmp_path / "params"
    parameters.write_text("ResmanDebugLevel: 1\nRmProfilingAdminOnly: 1\n")
    monkeypatch.setattr(ncu, "_PARAMETERS", parameters)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "ERR_NVGPUCTRPERM" in ncu.obstacle(Path("ncu"), "GPU-1")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert not ncu.obstacle(Path("ncu"), "GPU-1")
