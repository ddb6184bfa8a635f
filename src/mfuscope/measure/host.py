"""What the host does during a pass: waits for a CPU, switches, page faults, collections, steal.

The kernel's counters are read at the start of a pass, at its first logits and at its end, each time
in a few microseconds (docs/measurement.md): files of /proc are open by then. What takes longer is
read before the pass or after it. What a system does not tell is absent.
"""

import gc
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mfuscope.core.records import Host, HostStage
from mfuscope.hardware import nvml

_PROC = Path("/proc")
_CPUS = Path("/sys/devices/system/cpu")
_RUSAGE_THREAD: int | None = getattr(resource, "RUSAGE_THREAD", None)  # Linux has it
_STEAL, _PROCESSOR = 8, 36  # fields in /proc/stat's first line; in stat of a thread after its name


@contextmanager
def collector_off() -> Iterator[None]:
    """Collect garbage, then run the body without the collector, as timeit does."""
    if not gc.isenabled():
        yield  # within another such body
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass(frozen=True, slots=True)
class _Counts:
    """The counters at one instant; `waits_ns` by thread, None for a thread that has ended."""

    waits_ns: list[int | None]
    usage: resource.struct_rusage | None
    collections: int
    collections_ns: int


class HostWatch:
    """Watches the host during one ``generate`` call, from the thread that makes it.

    Use `measure` around the call, and have it call `on_logits` after each forward; then `host`.
    """

    def __init__(self, *, every_thread: bool, uuid: str | None) -> None:
        """Prepare for one call.

        Args:
            every_thread: watch all threads of the process: other threads compute too, on the CPU.
            uuid: the GPU's, None for the CPU.
        """
        self._every_thread = every_thread
        self._uuid = uuid
        self._absent: dict[str, str] = {}
        self._files: list[int] = []
        self._who = resource.RUSAGE_SELF if every_thread else _RUSAGE_THREAD
        if self._who is None:
            names = ("voluntary_switches", "involuntary_switches", "minor_faults", "major_faults")
            self._absent |= dict.fromkeys(names, "the system does not count it by thread")
        self._collections = self._collections_ns = self._collecting_since = 0
        self._marks: list[_Counts] = []
        self._started_at = 0.0
        self._load: float | None = None
        self._steal_ms: float | None = None
        self._mhz: float | None = None

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Watch the host during the body."""
        try:
            self._load = os.getloadavg()[0]
        except OSError as error:
            self._absent["load_1min"] = str(error)
        steal = self._read_steal_ms()
        gc.callbacks.append(self._on_collection)
        try:
            self._open()
            self._started_at = time.time()
            self._marks = [self._read()]
            yield
            self._marks.append(self._read())
        finally:
            gc.callbacks.remove(self._on_collection)
            self._close()
        after = self._read_steal_ms()
        if steal is not None and after is not None:
            self._steal_ms = max(0.0, after - steal)  # the kernel corrects the counter at times
        self._mhz = self._read_cpu_mhz()

    def on_logits(self) -> None:
        """Note that a forward has computed its logits; the first ones end prefill."""
        if len(self._marks) == 1:
            self._marks.append(self._read())

    def host(self) -> Host:
        """What the host did; after `measure`, and only of a call that computed logits."""
        start, logits, end = self._marks
        others, reason = nvml.other_processes(self._uuid)
        if others is None:
            self._absent["gpu_processes"] = reason
        return Host(
            started_at=round(self._started_at, 3),
            load_1min=self._load,
            steal_ms=self._steal_ms,
            cpu_mhz=self._mhz,
            gpu_processes=others,
            prefill=_between(start, logits),
            decode=_between(logits, end),
            absent=self._absent,
        )

    def _open(self) -> None:
        """Open what tells how long the threads wait for a CPU, this one's first."""
        threads = [_PROC / "thread-self"]
        if self._every_thread:
            threads += (_PROC / "self" / "task").glob("*")
        for thread in threads:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                self._files.append(os.open(thread / "schedstat", os.O_RDONLY | os.O_CLOEXEC))
        # A kernel that does not count says that this thread never ran.
        if not self._files or os.pread(self._files[0], 100, 0).split()[0] == b"0":
            self._close()
            self._absent["run_queue_wait_ms"] = "the kernel does not count it"

    def _close(self) -> None:
        while self._files:
            os.close(self._files.pop())

    def _read(self) -> _Counts:
        return _Counts(
            [_wait_ns(file) for file in self._files],
            None if self._who is None else resource.getrusage(self._who),
            self._collections,
            self._collections_ns,
        )

    def _on_collection(self, phase: str, _: object) -> None:
        if phase == "start":
            self._collecting_since = time.perf_counter_ns()
        else:
            self._collections += 1
            self._collections_ns += time.perf_counter_ns() - self._collecting_since

    def _read_steal_ms(self) -> float | None:
        """What was stolen from the machine's CPUs since it started, in ms."""
        try:
            with (_PROC / "stat").open(encoding="ascii") as file:
                times = file.readline().split()
        except OSError as error:
            self._absent["steal_ms"] = f"/proc/stat: {error.strerror}"
            return None
        if len(times) <= _STEAL or not any(map(int, times[1:])):
            self._absent["steal_ms"] = "the kernel does not count it"
            return None
        return int(times[_STEAL]) * 1e3 / os.sysconf("SC_CLK_TCK")

    def _read_cpu_mhz(self) -> float | None:
        """The frequency of the CPU that this thread runs on."""
        try:
            stat = (_PROC / "thread-self" / "stat").read_text(encoding="utf-8", errors="replace")
            cpu = stat.rpartition(")")[2].split()[_PROCESSOR]
            scaling = _CPUS / f"cpu{cpu}" / "cpufreq" / "scaling_cur_freq"
            if scaling.exists():
                return int(scaling.read_text(encoding="ascii")) / 1e3
            lines = (_PROC / "cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            self._absent["cpu_mhz"] = f"{error.filename}: {error.strerror}"
            return None
        rows = [[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]
        mine = False
        for name, value in rows:
            mine = value == cpu if name == "processor" else mine
            if mine and name == "cpu MHz" and float(value) > 0:
                return float(value)
        self._absent["cpu_mhz"] = "neither cpufreq nor /proc/cpuinfo has it"
        return None


def _wait_ns(file: int) -> int | None:
    """How long a thread could have run so far but waited for a CPU; None if it has ended."""
    try:
        return int(os.pread(file, 100, 0).split()[1])
    except ProcessLookupError:
        return None


def _between(start: _Counts, end: _Counts) -> HostStage:
    waits = [
        after - before
        for before, after in zip(start.waits_ns, end.waits_ns, strict=True)
        if before is not None and after is not None
    ]

    def more(name: str) -> int | None:
        if start.usage is None or end.usage is None:
            return None
        return int(getattr(end.usage, name) - getattr(start.usage, name))

    return HostStage(
        run_queue_wait_ms=max(waits) / 1e6 if waits else None,
        voluntary_switches=more("ru_nvcsw"),
        involuntary_switches=more("ru_nivcsw"),
        minor_faults=more("ru_minflt"),
        major_faults=more("ru_majflt"),
        collections=end.collections - start.collections,
        collections_ms=(end.collections_ns - start.collections_ns) / 1e6,
    )
