"""A device's memory: how much there is, is free and was used, and telling when it runs out."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from mfuscope.core.errors import InsufficientMemoryError, OutOfMemoryError

# What allocations on a device raise beside torch.OutOfMemoryError and MemoryError, all of them as
# plain RuntimeErrors: the CPU's allocator, the CUDA runtime, cuBLAS, the C++ library.
_SHORTAGES = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
# Controller in /proc/self/cgroup -> where its groups are mounted, their files of limit and use, and
# what precedes the names in memory.stat: version 2 of control groups, then version 1.
_CGROUPS = {
    "": ("", "memory.max", "memory.current", ""),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
}


@dataclass(frozen=True, slots=True)
class Memory:
    """A device's memory in bytes."""

    free: int
    total: int


def device_memory(device: torch.device) -> Memory:
    """What is free on a device for this process, and what there is at most.

    Of a CPU that is the tightest of the host's memory (what the kernel could make available
    without swapping), the limits of the process's control groups, and that of its address space.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(free, total)
    return min([_host(), *control_groups(), *_address_space()], key=lambda memory: memory.free)


def _host() -> Memory:
    sizes = _table(Path("/proc/meminfo"))
    return Memory(sizes["MemAvailable"] * 1024, sizes["MemTotal"] * 1024)


def control_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> list[Memory]:
    """The memory of each control group that this process is in, of those that have a limit."""
    found = []
    for line in own.read_text(encoding="utf-8").splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        controller = next((name for name in controllers.split(",") if name in _CGROUPS), None)
        if controller is None:
            continue
        mount, limit_file, use_file, prefix = _CGROUPS[controller]
        # A container may see its own group as the root, or its path as the host names it.
        inner = Path(path.lstrip("/"))
        for group in {root / mount / part for part in (inner, *inner.parents)}:
            try:
                limit = (group / limit_file).read_text(encoding="ascii").strip()
                used = int((group / use_file).read_text(encoding="ascii"))
                use = _table(group / "memory.stat")
            except OSError:  # not there, or not ours to read
                continue
            if limit != "max":
                # The use counts the page cache, which the kernel gives back.
                used -= use.get(f"{prefix}active_file", 0) + use.get(f"{prefix}inactive_file", 0)
                found.append(Memory(max(0, int(limit) - used), int(limit)))
    return found


def _address_space() -> list[Memory]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return []
    used = _table(Path("/proc/self/status"))["VmSize"] * 1024
    return [Memory(max(0, limit - used), limit)]


def _table(path: Path) -> dict[str, int]:
    """The numbers of a file of the kernel that has a name and a number per line."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [line.replace(":", " ").split() for line in lines]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


class PeakMemory:
    """Peak memory since it was made: the allocator's on a GPU, the resident set on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reason = ""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            except OSError as error:
                self._reason = f"the peak resident set cannot be reset ({error})"

    def read(self) -> tuple[int | None, str]:
        """Bytes, or None and the reason."""
        if self._reason:
            return None, self._reason
        return peak_bytes(self._device)


def peak_bytes(device: torch.device) -> tuple[int | None, str]:
    """The peak since it was last reset: bytes, or None and the reason."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device)), ""
    peak = _table(Path("/proc/self/status")).get("VmHWM")
    if peak is None:
        return None, "the system does not tell the peak resident set"
    return peak * 1024, ""


def check_fits(name: str, weight_bytes: int, dtype: str, device: torch.device) -> None:
    """Refuse a model whose weights alone are larger than what is free on its device.

    Raises:
        InsufficientMemoryError: with the figures.
    """
    memory = device_memory(device)
    if weight_bytes > memory.free:
        remedy = "set a shorter `dtype` or a smaller `model`"
        if weight_bytes <= memory.total:
            remedy = f"{_who_holds_it(device)}, or {remedy}"
        raise InsufficientMemoryError(
            f"model: {name!r} does not fit: its weights alone need {_size(weight_bytes)} in "
            f"{dtype}, and {_free(memory, device)}",
            remedy,
        )


@contextmanager
def report_shortage(what: str, weight_bytes: int | None, device: torch.device) -> Iterator[None]:
    """Have an allocation that fails within told in words.

    Args:
        what: is done within, with what decides its need, e.g. ``a page at 1024``.
        weight_bytes: the model's size; None where there is no model yet.

    Raises:
        OutOfMemoryError: with the figures.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            device = torch.device("cpu")  # also beside a GPU
        raise OutOfMemoryError(
            f"the {_kind(device)}'s memory ran out in {what}: {_figures(weight_bytes, device)}",
            "set a smaller `resolution` or `max_new_tokens` or a shorter `dtype`, or "
            f"{_who_holds_it(device)}",
        ) from error


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that an allocation failed."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORTAGES)


def _figures(weight_bytes: int | None, device: torch.device) -> str:
    figures = ["no weights yet" if weight_bytes is None else f"weights {_size(weight_bytes)}"]
    peak, reason = peak_bytes(device)
    figures.append(f"peak so far {_size(peak) if peak is not None else f'not known ({reason})'}")
    with suppress(RuntimeError):  # a GPU that is full answers nobody
        figures.append(_free(device_memory(device), device))
    return ", ".join(figures)


def _kind(device: torch.device) -> str:
    return "GPU" if device.type == "cuda" else "host"


def _free(memory: Memory, device: torch.device) -> str:
    return f"{_size(memory.free)} of the {_kind(device)}'s {_size(memory.total)} are free"


def _who_holds_it(device: torch.device) -> str:
    if device.type == "cuda":
        return "end what else holds the GPU's memory (nvidia-smi shows it)"
    return "end what else holds memory (or raise the limit that this process runs under)"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
