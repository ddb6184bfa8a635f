"""What the host does during a pass."""

import gc
import mmap
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
from validate import schemas

from mfuscope.core.records import Host
from mfuscope.hardware import nvml
from mfuscope.measure import host as hosts
from mfuscope.measure.host import HostWatch, collector_off

COUNTED = Path("/proc/thread-self/schedstat").exists()


def watched(watch: HostWatch, prefill_s: float = 0.0, decode_s: float = 0.0) -> Host:
    """The host of a call that only computes, for so long in each stage."""
    with watch.measure():
        for seconds in (prefill_s, decode_s):
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass
            watch.on_logits()
    return watch.host()


@pytest.mark.skipif(not COUNTED, reason="the kernel does not count run-queue waits")
@pytest.mark.parametrize("every_thread", [False, True])
def test_a_busy_neighbour_shows_as_waits_of_its_stage(every_thread: bool) -> None:
    """The neighbours run on this thread's only CPU during what is decode."""
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    spin = f"import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
    neighbours: list[subprocess.Popen[bytes]] = []
    watch = HostWatch(every_thread=every_thread, uuid=None)
    os.sched_setaffinity(0, {cpu})
    try:
        with watch.measure():
            watch.on_logits()
            neighbours += [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(3)]
            end, spent = time.monotonic() + 20, time.thread_time()
            while time.thread_time() - spent < 0.1 and time.monotonic() < end:
                pass
        found = watch.host()
    finally:
        os.sched_setaffinity(0, allowed)
        for one in neighbours:
            one.kill()
            one.wait()
    assert found.decode.run_queue_wait_ms is not None
    assert found.decode.run_queue_wait_ms > 50, "of three neighbours with equal shares"
    assert found.prefill.run_queue_wait_ms is not None
    assert found.prefill.run_queue_wait_ms < found.decode.run_queue_wait_ms
    assert found.decode.involuntary_switches


def test_collections_count_in_their_stage() -> None:
    watch = HostWatch(every_thread=False, uuid=None)
    with watch.measure():
        gc.collect()
        watch.on_logits()
        watch.on_logits()  # of a later forward
    found = watch.host()
    assert found.prefill.collections == 1
    assert 0 < found.prefill.collections_ms < 10_000
    assert (found.decode.collections, found.decode.collections_ms) == (0, 0)
    gc.collect()
    assert watch.host() == found, "later ones do not count"


def test_the_collector_is_off_and_comes_back() -> None:
    assert gc.isenabled()
    with collector_off():
        assert not gc.isenabled()
        with collector_off():
            pass
        assert not gc.isenabled()
    with pytest.raises(RuntimeError), collector_off():
        raise RuntimeError
    assert gc.isenabled()


def test_garbage_is_collected_before(monkeypatch: pytest.MonkeyPatch) -> None:
    collections = []
    monkeypatch.setattr(gc, "collect", lambda: collections.append(gc.isenabled()))
    with collector_off(), collector_off():
        pass
    assert collections == [True]


def test_a_system_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> tuple[float, float, float]:
        raise OSError("Load averages are unobtainable")

    monkeypatch.setattr(hosts, "_PROC", tmp_path)
    monkeypatch.setattr(hosts, "_RUSAGE_THREAD", None)
    monkeypatch.setattr(os, "getloadavg", unknown)
    found = watched(HostWatch(every_thread=False, uuid=None))
    properties = schemas()["common.schema.yaml"]["$defs"]["host"]["properties"]
    assert set(found.absent) == set(properties["absent"]["propertyNames"]["enum"])
    assert all(found.absent.values())
    for stage in (found.prefill, found.decode):
        assert (stage.run_queue_wait_ms, stage.major_faults, stage.collections) == (None, None, 0)
    assert found.load_1min is found.steal_ms is found.cpu_mhz is found.gpu_processes is None
    assert found.started_at == pytest.approx(time.time(), abs=60)


def make_proc(folder: Path, *, stat: str, schedstat: str = "5 0 1", cpuinfo: str = "") -> None:
    (folder / "thread-self").mkdir()
    (folder / "thread-self" / "schedstat").write_text(schedstat)
    fields = " ".join(["S", *["0"] * 35, "2", "0"])  # on CPU 2
    (folder / "thread-self" / "stat").write_text(f"7 (a ) b) {fields}")
    (folder / "stat").write_text(stat)
    (folder / "cpuinfo").write_text(cpuinfo)


CPUINFO = "".join(f"processor\t: {n}\ncpu MHz\t\t: {1000 + n}.5\n\n" for n in range(4))


def test_what_the_kernel_s_files_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_proc(tmp_path, stat="cpu 1 2 3 4 5 6 7 80 0 0\ncpu0 1\n", cpuinfo=CPUINFO)
    monkeypatch.setattr(hosts, "_PROC", tmp_path)
    monkeypatch.setattr(hosts, "_CPUS", tmp_path / "cpus")
    ticks = os.sysconf("SC_CLK_TCK")
    watch = HostWatch(every_thread=False, uuid=None)
    with watch.measure():
        watch.on_logits()
        (tmp_path / "stat").write_text("cpu 1 2 3 4 5 6 7 83 0 0\n")
        (tmp_path / "thread-self" / "schedstat").write_text("9 1500000 2")
    found = watch.host()
    assert found.steal_ms == 3 * 1000 / ticks
    assert found.cpu_mhz == 1002.5
    assert (found.prefill.run_queue_wait_ms, found.decode.run_queue_wait_ms) == (0.0, 1.5)
    scaling = tmp_path / "cpus" / "cpu2" / "cpufreq"
    scaling.mkdir(parents=True)
    (scaling / "scaling_cur_freq").write_text("3600000\n")
    assert watched(HostWatch(every_thread=False, uuid=None)).cpu_mhz == 3600.0


def test_counters_that_never_move_are_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in kernels that have the files, but do not count."""
    make_proc(tmp_path, stat="cpu 0 0 0 0 0 0 0 0 0 0\n", schedstat="0 0 0\n", cpuinfo="x\n")
    monkeypatch.setattr(hosts, "_PROC", tmp_path)
    monkeypatch.setattr(hosts, "_CPUS", tmp_path / "cpus")
    found = watched(HostWatch(every_thread=True, uuid=None))
    assert {"steal_ms", "run_queue_wait_ms", "cpu_mhz"} <= set(found.absent)
    assert found.prefill.run_queue_wait_ms is found.steal_ms is found.cpu_mhz is None


def test_files_are_closed_after_an_error() -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    watch = HostWatch(every_thread=True, uuid=None)
    with pytest.raises(RuntimeError), watch.measure():
        raise RuntimeError
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert watch._on_collection not in gc.callbacks


@pytest.mark.parametrize(
    ("compute", "graphics", "others"),
    [([1], [], 0), ([1, 5], [5, 6], 2), ([], [], None), ([5], [6], None)],
)
def test_processes_on_the_gpu(
    compute: list[int],
    graphics: list[int],
    others: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def running(pids: list[int]) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=os.getpid() if pid == 1 else -pid) for pid in pids]

    answers = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetComputeRunningProcesses": lambda _: running(compute),
        "nvmlDeviceGetGraphicsRunningProcesses": lambda _: running(graphics),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    found, reason = nvml.other_processes("GPU-a")
    assert found == others
    assert bool(reason) == (others is None)


def test_page_faults_are_of_their_stage() -> None:
    watch = HostWatch(every_thread=False, uuid=None)
    with watch.measure():
        watch.on_logits()
        with mmap.mmap(-1, 4096 * resource.getpagesize()) as fresh:
            fresh.write(b"x" * len(fresh))
    found = watch.host()
    assert found.decode.minor_faults is not None
    assert found.decode.minor_faults > (found.prefill.minor_faults or 0)
